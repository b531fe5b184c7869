//! An instance that stands still: it is stopped (SIGSTOP) while another publishes what both it and a third have a subscriber for,
//! and goes on again. What that does to the others, before, meanwhile and after.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::instances::{Instances, Settings};
use super::{ClusterArgs, Outcome};
use crate::clock::now_micros;
use crate::error::{BenchError, Doing as _, Result, failed};
use crate::progress;
use crate::publish::{TEXT, parse_response, post};
use crate::stats::Histogram;
use crate::table::align;
use crate::wire::{Carry, HEADER, payload};

/// Where events are published, where they are delivered, and which one stands still.
const PUBLISHES: usize = 0;
const DELIVERS: usize = 1;
const STANDS_STILL: usize = 2;

const PHASES: [&str; 3] = ["before", "meanwhile", "after"];

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long the last events may be on their way.
const SETTLE: Duration = Duration::from_secs(10);

/// What happened in one phase.
#[derive(Default)]
struct Phase {
    published: u64,
    answered: Histogram,
    delivered: Histogram,
    /// The most memory of the publishing and the delivering instance, and of what is held for the one that stands still.
    memory: [f64; 2],
    held: f64,
    dropped: f64,
}

/// A subscriber that reads on a thread of its own.
struct Reader {
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    count: AtomicU64,
    repeated_or_lost: AtomicU64,
    ended: AtomicBool,
    /// When each phase began, and the delays of the events that were published in it.
    phases: Mutex<Vec<(u64, Histogram)>>,
}

/// Runs it and describes it.
pub(super) fn run(args: &ClusterArgs) -> Result<Outcome> {
    let settings = Settings { connections: 1_000, history: 1_000, retry_ms: 2_000, drain_sec: 1 };
    let cluster = Instances::start(3, &args.proxy, &settings)?;
    let addresses = cluster.addresses();
    let (reader, still) = (Reader::start(addresses[DELIVERS])?, Reader::start(addresses[STANDS_STILL])?);
    let mut publisher = TcpStream::connect(addresses[PUBLISHES]).doing(|| "connecting".into())?;
    publisher.set_nodelay(true).doing(|| "setting TCP_NODELAY".into())?;
    let (mut phases, mut sequence) = (Vec::new(), 0);
    for name in PHASES {
        progress::step(name);
        match name {
            "meanwhile" => cluster.stand_still(STANDS_STILL, true),
            "after" => cluster.stand_still(STANDS_STILL, false),
            _ => {}
        }
        reader.begin_phase();
        phases.push(phase(args, &cluster, &mut publisher, &mut sequence)?);
    }
    let deadline = Instant::now() + SETTLE;
    while reader.count() < sequence.into() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    for (phase, delays) in phases.iter_mut().zip(reader.delays()) {
        phase.delivered = delays;
    }
    let told = cluster.metric_of(STANDS_STILL, "revenprox_mesh_lost_total")?;
    let mut text = align(&rows(&phases));
    let _ = writeln!(
        text,
        "\n{} events of {} bytes a second at one instance, with a subscriber at another and one at the third, which is \
         stopped for {:.0} s.\nThe third's subscriber got {} of {sequence} events; the third was told that it missed {told:.0}.",
        args.rate(),
        args.payload,
        args.seconds(),
        still.count(),
    );
    let wrong = reader.wrong(sequence.into());
    let verdict = if wrong == 0 {
        Ok(())
    } else {
        Err(BenchError::Mismatch(format!(
            "{wrong} events were lost or repeated at the instance that delivers"
        )))
    };
    Ok(Outcome { text, verdict })
}

/// Publishes for the time asked for, and looks at memory meanwhile.
fn phase(
    args: &ClusterArgs,
    cluster: &Instances,
    connection: &mut TcpStream,
    sequence: &mut u32,
) -> Result<Phase> {
    let dropped = || cluster.metric_of(PUBLISHES, "revenprox_mesh_events_dropped_total");
    let (before, done) = (dropped()?, AtomicBool::new(false));
    let mut phase = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(cluster, &done));
        let phase = publish(args, connection, sequence);
        done.store(true, Ordering::Relaxed);
        let (memory, held) = watcher.join().map_err(|_| failed("watching memory failed"))??;
        Ok::<_, BenchError>(Phase { memory, held, ..phase? })
    })?;
    phase.dropped = dropped()? - before;
    Ok(phase)
}

/// Publishes at its pace, each event when it is due.
fn publish(args: &ClusterArgs, connection: &mut TcpStream, sequence: &mut u32) -> Result<Phase> {
    let mut phase = Phase::default();
    let began = Instant::now();
    while (phase.published as f64) < args.rate() * args.seconds() {
        let due = began + Duration::from_secs_f64(phase.published as f64 / args.rate());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let stamp = now_micros() - u64::try_from(due.elapsed().as_micros()).unwrap_or(0);
        let data = payload(0, *sequence, stamp, args.payload);
        exchange(connection, &post("/events/t0", TEXT, &data))?;
        phase.answered.record(now_micros().saturating_sub(stamp));
        *sequence += 1;
        phase.published += 1;
    }
    Ok(phase)
}

/// The most memory of the publishing and the delivering instance, and the most that the former held for others.
fn watch(cluster: &Instances, done: &AtomicBool) -> Result<([f64; 2], f64)> {
    let (mut memory, mut held) = ([0.0_f64; 2], 0.0_f64);
    while !done.load(Ordering::Relaxed) {
        let now = cluster.memory();
        for (most, at) in memory.iter_mut().zip([PUBLISHES, DELIVERS]) {
            *most = most.max(now[at] as f64);
        }
        held = held.max(cluster.metric_of(PUBLISHES, "revenprox_peer_held_bytes")?);
        std::thread::sleep(LOOK_EVERY);
    }
    Ok((memory, held))
}

/// Sends a request and reads the answer, which has to be that it is accepted.
pub(super) fn exchange(connection: &mut TcpStream, request: &[u8]) -> Result<()> {
    connection.write_all(request).doing(|| "publishing".into())?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = connection.read(&mut buffer).doing(|| "reading the answer to a publish".into())?;
        bytes.extend_from_slice(&buffer[..read]);
        match parse_response(&bytes, read == 0) {
            Some((response, _)) if response.status == 202 => return Ok(()),
            Some((response, _)) => return Err(failed(format!("a publish was answered {}", response.status))),
            None if read == 0 => return Err(failed("the connection ended before the answer to a publish")),
            None => {}
        }
    }
}

fn rows(phases: &[Phase]) -> Vec<Vec<String>> {
    type Cell = Box<dyn Fn(&Phase) -> String>;
    let mib = |bytes: f64| format!("{:.1}", bytes / f64::from(1 << 20));
    let ms = |value: f64| format!("{value:.2}");
    let rows: Vec<(&str, Cell)> = vec![
        ("events published", Box::new(|p| p.published.to_string())),
        ("delivered at another instance", Box::new(|p| p.delivered.count().to_string())),
        ("  p50 ms", Box::new(move |p| ms(p.delivered.percentile_ms(50.0)))),
        ("  p99 ms", Box::new(move |p| ms(p.delivered.percentile_ms(99.0)))),
        ("  max ms", Box::new(move |p| ms(p.delivered.max_ms()))),
        ("publish answered, p50 ms", Box::new(move |p| ms(p.answered.percentile_ms(50.0)))),
        ("publish answered, p99 ms", Box::new(move |p| ms(p.answered.percentile_ms(99.0)))),
        ("MiB PSS of the publishing instance, most", Box::new(move |p| mib(p.memory[0]))),
        ("MiB PSS of the delivering instance, most", Box::new(move |p| mib(p.memory[1]))),
        ("MiB held for other instances, most", Box::new(move |p| mib(p.held))),
        ("events dropped for the one that stands still", Box::new(|p| format!("{:.0}", p.dropped))),
    ];
    let head = [""].iter().chain(&PHASES).map(|name| (*name).to_owned()).collect();
    let line = |(name, cell): &(&str, Cell)| {
        std::iter::once((*name).to_owned()).chain(phases.iter().map(cell)).collect::<Vec<_>>()
    };
    std::iter::once(head).chain(rows.iter().map(line)).collect()
}

// === impl Reader ===

impl Reader {
    fn start(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address).doing(|| "subscribing".into())?;
        let request = b"GET /events/t0 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
        stream.write_all(request).doing(|| "subscribing".into())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).doing(|| "reading the head of a stream".into())?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 200") {
            return Err(failed(format!("a subscribe was answered {}", String::from_utf8_lossy(&head))));
        }
        let seen = Arc::new(Seen::default());
        let book = Arc::clone(&seen);
        std::thread::spawn(move || book.read(&mut stream));
        Ok(Self { seen })
    }

    fn begin_phase(&self) {
        self.seen.phases.lock().push((now_micros(), Histogram::default()));
    }

    fn count(&self) -> u64 {
        self.seen.count.load(Ordering::Relaxed)
    }

    fn delays(&self) -> Vec<Histogram> {
        self.seen.phases.lock().drain(..).map(|(_, delays)| delays).collect()
    }

    /// Events that did not come, came more than once or out of order; a stream that ended counts as one.
    fn wrong(&self, published: u64) -> u64 {
        let missing = published.saturating_sub(self.count());
        let seen = &self.seen;
        missing
            + seen.repeated_or_lost.load(Ordering::Relaxed)
            + u64::from(seen.ended.load(Ordering::Relaxed))
    }
}

// === impl Seen ===

impl Seen {
    fn read(&self, stream: &mut TcpStream) {
        let (mut carry, mut buffer) = (Carry::default(), vec![0; HEADER + 64 * 1024]);
        while let Ok(read) = stream.read(&mut buffer[HEADER..])
            && read > 0
        {
            let now = now_micros();
            carry.scan(&mut buffer, read, |found| {
                let expected = self.count.fetch_add(1, Ordering::Relaxed);
                self.repeated_or_lost
                    .fetch_add((u64::from(found.sequence) != expected).into(), Ordering::Relaxed);
                let mut phases = self.phases.lock();
                if let Some((_, delays)) = phases.iter_mut().rev().find(|(began, _)| *began <= found.stamp) {
                    delays.record(now.saturating_sub(found.stamp));
                }
            });
        }
        self.ended.store(true, Ordering::Relaxed);
    }
}
