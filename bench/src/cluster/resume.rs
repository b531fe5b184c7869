//! How long it takes a subscriber to go on at an instance that has never had its topic, and what it costs a publisher to wait until
//! another instance keeps an event.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::instances::{Instances, Settings};
use super::rolling::stream::{Memory, Said, Stream};
use super::standstill::exchange;
use super::{ClusterArgs, Outcome};
use crate::clock::now_micros;
use crate::error::{Doing as _, Result, failed};
use crate::publish::{TEXT, post};
use crate::stats::Histogram;
use crate::table::{align, number};
use crate::wire::{Found, payload};

/// Events that a subscriber misses.
const MISSED: u32 = 100;

/// How long instances that have met are left alone.
const MEETING: Duration = Duration::from_secs(2);

/// Subscribers that come back, one after the other, each to a topic of its own.
const RESUMES: usize = 300;

/// Events published at each level, in turn.
const PUBLISHES: usize = 2_000;

/// Runs it and describes it.
pub(super) fn run(args: &ClusterArgs) -> Result<Outcome> {
    let settings = Settings { connections: 1_000, history: 1_000, retry_ms: 2_000, drain_sec: 1 };
    let cluster = Instances::start(args.instances.unwrap_or(3).max(3).into(), &args.proxy, &settings)?;
    // Only what is published some time after they have met do all vouch for.
    std::thread::sleep(MEETING);
    let instances = cluster.addresses();
    let mut publishers = Vec::new();
    for address in &instances {
        let connection = TcpStream::connect(address).doing(|| "connecting".into())?;
        connection.set_nodelay(true).doing(|| "setting TCP_NODELAY".into())?;
        publishers.push(connection);
    }
    let mut resumed = Histogram::default();
    for n in 0..RESUMES {
        let at = |step: usize| (n + step) % instances.len();
        let mut memory = Memory::default();
        let topic = format!("r{n}");
        let mut publish = |sequence| {
            let data = payload(0, sequence, now_micros(), args.payload);
            exchange(&mut publishers[at(1)], &post(&format!("/events/{topic}?ack=replicated"), TEXT, &data))
        };
        let mut first = Visit::begin(instances[at(0)], &topic, &mut memory)?;
        publish(0)?;
        first.read(1, &mut memory)?;
        drop(first);
        (1..=MISSED).try_for_each(&mut publish)?;
        let began = Instant::now();
        Visit::begin(instances[at(2)], &topic, &mut memory)?.read(MISSED, &mut memory)?;
        resumed.record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    let [accepted, replicated] = levels(args, &mut publishers[0])?;
    let head = ["", "p50 ms", "p99 ms", "max ms"].map(str::to_owned).to_vec();
    let row = |what: &str, times: &Histogram| {
        let times = [times.percentile_ms(50.0), times.percentile_ms(99.0), times.max_ms()];
        std::iter::once(what.to_owned()).chain(times.map(number)).collect::<Vec<_>>()
    };
    let ratio = |percent| number(replicated.percentile_ms(percent) / accepted.percentile_ms(percent));
    let rows = [
        head,
        row("resume elsewhere, 100 events missed", &resumed),
        row("publish answered when accepted", &accepted),
        row("publish answered when replicated", &replicated),
        vec!["  as a multiple".into(), ratio(50.0), ratio(99.0), String::new()],
    ];
    let text = format!(
        "{}\n{RESUMES} subscribers come back one after the other, each to an instance that has never had its topic; {PUBLISHES} \
         events at each level, in turn, one at a time.\n",
        align(&rows)
    );
    Ok(Outcome { text, verdict: Ok(()) })
}

/// How long a publish takes at each level, on one connection.
fn levels(args: &ClusterArgs, connection: &mut TcpStream) -> Result<[Histogram; 2]> {
    let mut times = [Histogram::default(), Histogram::default()];
    for n in 0..PUBLISHES * 2 {
        let level = n % 2;
        let path = format!("/events/p{}?ack={}", n % 100, ["accepted", "replicated"][level]);
        let began = Instant::now();
        let data = payload(0, u32::try_from(n).unwrap_or(u32::MAX), now_micros(), args.payload);
        exchange(connection, &post(&path, TEXT, &data))?;
        times[level].record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(times)
}

/// One stream of a subscriber.
struct Visit {
    socket: TcpStream,
    stream: Stream,
    /// Events that came.
    seen: u32,
}

// === impl Visit ===

impl Visit {
    fn begin(address: SocketAddr, topic: &str, memory: &mut Memory) -> Result<Self> {
        let mut socket = TcpStream::connect(address).doing(|| "connecting".into())?;
        let resume = memory.last_id.as_ref().map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /events/{topic} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{resume}\r\n"
        );
        socket.write_all(request.as_bytes()).doing(|| "subscribing".into())?;
        let mut visit = Self { socket, stream: Stream::default(), seen: 0 };
        let mut is_open = false;
        while !is_open {
            is_open = visit.read_some(memory)?;
        }
        Ok(visit)
    }

    /// Reads until so many events have come, in their order.
    fn read(&mut self, count: u32, memory: &mut Memory) -> Result<()> {
        while self.seen < count {
            self.read_some(memory)?;
        }
        Ok(())
    }

    /// Whether the head came with it.
    fn read_some(&mut self, memory: &mut Memory) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let read = self.socket.read(&mut buffer).doing(|| "reading a stream".into())?;
        let mut is_open = false;
        let mut wrong = (read == 0).then(|| "its stream ended".to_owned());
        let is_back = memory.last_id.is_some();
        self.stream.take(&buffer[..read], memory, |said| match said {
            Said::Open => is_open = true,
            Said::Event(data) => {
                let expected = self.seen + u32::from(is_back);
                let sequence = Found::parse(&data).map(|found| found.sequence);
                if sequence != Some(expected) {
                    wrong = Some(format!("event {expected} was to come, and {sequence:?} came"));
                }
                self.seen += 1;
            }
            Said::Gap | Said::Retry => wrong = Some("it was told of a gap, or to come back".into()),
        })?;
        let missed = |wrong| failed(format!("a subscriber did not get what it had missed: {wrong}"));
        wrong.map_or(Ok(is_open), |wrong| Err(missed(wrong)))
    }
}
