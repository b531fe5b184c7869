//! A client process: one thread, one epoll instance, thousands of subscribers, commands on its standard input.

use std::collections::VecDeque;
use std::io::{Write, stdin, stdout};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::Signal;

use super::connection::{Connection, Phase, request};
use super::protocol::{Command, Connect, Expected, Reply, SlowReport, Topics, Totals};
use crate::clock::now_micros;
use crate::error::{Doing, Result, failed};
use crate::ledger::{Ledger, Verdict};
use crate::proc::{bind_to_parent, raise_descriptor_limit};
use crate::wire::HEADER;

const COMMANDS: u64 = u64::MAX;
const READ: usize = 256 * 1024;

/// The number of deliveries is told at most this often.
const PROGRESS: Duration = Duration::from_millis(4);

struct Worker {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    topics: Topics,
    instances: usize,
    ledger: Ledger,
    totals: Totals,
    told: u64,
    told_at: Instant,
    ramp: Option<Ramp>,
    input: Vec<u8>,
    buffer: Vec<u8>,
}

/// Subscribers that are still to be connected.
struct Ramp {
    plan: Connect,
    requests: VecDeque<(usize, Vec<u8>)>,
    under_way: usize,
    failures: Vec<String>,
    deadline: Instant,
}

/// The body of `bench worker`: serves commands until standard input ends.
pub(crate) fn run() -> Result<()> {
    bind_to_parent(Signal::KILL)?;
    raise_descriptor_limit();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).doing(|| "creating an epoll instance".into())?;
    epoll::add(&epoll, stdin(), epoll::EventData::new_u64(COMMANDS), epoll::EventFlags::IN)
        .doing(|| "watching the command pipe".into())?;
    let mut worker = Worker {
        epoll,
        connections: Vec::new(),
        topics: Topics::One,
        instances: 1,
        ledger: Ledger::default(),
        totals: Totals::default(),
        told: 0,
        told_at: Instant::now(),
        ramp: None,
        input: Vec::new(),
        buffer: vec![0; HEADER + READ],
    };
    while worker.turn()? {}
    Ok(())
}

// === impl Worker ===

impl Worker {
    /// Handles what is ready; false when the main process closed the command pipe.
    fn turn(&mut self) -> Result<bool> {
        let mut events = Vec::with_capacity(512);
        let tick = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&tick)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).doing(|| "waiting for events".into()),
        }
        let mut commands = false;
        for event in events {
            match event.data.u64() {
                COMMANDS => commands = true,
                token => self.ready(usize::try_from(token).expect("tokens are indexes")),
            }
        }
        self.go_on_connecting()?;
        self.tell_progress()?;
        Ok(!commands || self.read_commands()?)
    }

    fn read_commands(&mut self) -> Result<bool> {
        let read = rustix::io::read(stdin(), &mut self.buffer[..]).doing(|| "reading a command".into())?;
        if read == 0 {
            return Ok(false);
        }
        self.input.extend_from_slice(&self.buffer[..read]);
        while let Some(end) = self.input.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            let command =
                serde_json::from_slice(&line).map_err(|e| failed(format!("reading a command: {e}")))?;
            self.obey(command)?;
        }
        Ok(true)
    }

    fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Connect(plan) => self.start_connecting(plan),
            Command::Measure => {
                self.totals = Totals::default();
                Ok(())
            }
            Command::Report => {
                self.totals.delivered = self.ledger.delivered();
                say(&Reply::Totals(self.totals.clone()))
            }
            Command::Settle(expected) => say(&Reply::Verdict(self.settle(&expected))),
            Command::ReadSlow => say(&Reply::Slow(self.read_slow())),
            Command::Disconnect => {
                self.connections.drain(..).for_each(Connection::close_politely);
                say(&Reply::Closed)
            }
        }
    }

    fn start_connecting(&mut self, plan: Connect) -> Result<()> {
        if self.connections.is_empty() {
            self.ledger = Ledger::new(plan.publishers);
            (self.topics, self.instances, self.told) = (plan.topics, plan.instances.max(1), 0);
        }
        // Signed beforehand, so that a ramp measures the server and not the signing.
        let numbers = plan.first..plan.first + plan.count;
        let sign = |n| plan.token.as_ref().map(|token| token.sign(n)).transpose();
        let requests =
            numbers.map(|n| Ok((n, request(&plan, n, sign(n)?.as_deref())))).collect::<Result<_>>()?;
        let deadline = Instant::now() + plan.time_limit();
        self.ramp = Some(Ramp { plan, requests, under_way: 0, failures: Vec::new(), deadline });
        Ok(())
    }

    fn go_on_connecting(&mut self) -> Result<()> {
        let Some(ramp) = &mut self.ramp else { return Ok(()) };
        while ramp.under_way < ramp.plan.in_flight {
            let Some((number, request)) = ramp.requests.pop_front() else { break };
            let at = self.connections.len();
            let connection = Connection::begin(&ramp.plan, number, at, request)?;
            let token = epoll::EventData::new_u64(at as u64);
            epoll::add(&self.epoll, &connection.fd, token, epoll::EventFlags::OUT)
                .doing(|| "watching a subscriber".into())?;
            self.connections.push(connection);
            self.ledger.open(ramp.plan.first_sequence);
            ramp.under_way += 1;
        }
        if ramp.under_way > 0 && Instant::now() > ramp.deadline {
            ramp.failures.push(format!("{} subscribers did not connect in time", ramp.under_way));
            (ramp.under_way, ramp.requests) = (0, VecDeque::new());
        }
        if ramp.under_way == 0 && ramp.requests.is_empty() {
            let failures = std::mem::take(&mut ramp.failures);
            self.ramp = None;
            say(&Reply::Connected { failures })?;
        }
        Ok(())
    }

    fn ready(&mut self, at: usize) {
        let was_live = matches!(self.connections[at].phase, Phase::Live);
        let outcome = match self.connections[at].phase {
            Phase::Connecting(_) => self.send_request(at),
            Phase::Ended => Ok(()),
            Phase::Head(_) | Phase::Live => self.read(at),
        };
        let now_live = matches!(self.connections[at].phase, Phase::Live);
        if let Err(e) = &outcome {
            self.end(at, &e.to_string());
        }
        if let (false, Some(ramp)) = (was_live, &mut self.ramp) {
            ramp.under_way -= usize::from(now_live || outcome.is_err());
        }
    }

    fn send_request(&mut self, at: usize) -> Result<()> {
        let connection = &mut self.connections[at];
        connection.send_request()?;
        epoll::modify(
            &self.epoll,
            &connection.fd,
            epoll::EventData::new_u64(at as u64),
            epoll::EventFlags::IN,
        )
        .doing(|| "watching a subscriber".into())
    }

    fn read(&mut self, at: usize) -> Result<()> {
        let connection = &mut self.connections[at];
        let read = match rustix::net::recv(&connection.fd, &mut self.buffer[HEADER..], RecvFlags::empty()) {
            Ok((0, _)) => return Err(failed("the server ended the stream")),
            Ok((read, _)) => read,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(e) => return Err(e).doing(|| "reading a stream".into()),
        };
        let Some(head) = connection.take_head(&self.buffer[HEADER..HEADER + read])? else { return Ok(()) };
        if connection.slow {
            return epoll::delete(&self.epoll, &connection.fd)
                .doing(|| "no longer watching a subscriber".into());
        }
        self.buffer.copy_within(HEADER + head..HEADER + read, HEADER);
        let now = now_micros();
        let (ledger, totals) = (&mut self.ledger, &mut self.totals);
        let (instances, home) = (self.instances, connection.number % self.instances);
        connection.carry.scan(&mut self.buffer, read - head, |found| {
            ledger.record(at, found.publisher, found.sequence);
            let is_local = usize::from(found.publisher) % instances == home;
            let latency = if is_local { &mut totals.latency } else { &mut totals.remote };
            latency.record(now.saturating_sub(found.stamp));
            totals.last_at = now;
        });
        Ok(())
    }

    fn end(&mut self, at: usize, why: &str) {
        let connection = &mut self.connections[at];
        let _ = epoll::delete(&self.epoll, &connection.fd);
        connection.phase = Phase::Ended;
        self.totals.ended += u64::from(!connection.slow);
        match &mut self.ramp {
            Some(ramp) if ramp.failures.len() < 4 => ramp.failures.push(why.into()),
            _ => {}
        }
    }

    fn settle(&self, expected: &Expected) -> Verdict {
        self.ledger.settle(|subscriber, publisher| {
            if self.connections[subscriber].slow {
                return None;
            }
            Some(expected.count(self.topics.of(self.connections[subscriber].number), publisher))
        })
    }

    fn read_slow(&mut self) -> SlowReport {
        let mut report = SlowReport::default();
        for connection in self.connections.iter_mut().filter(|c| c.slow) {
            report.slow += 1;
            // What waits is bounded by the socket's buffers and what the server still wants to send meanwhile.
            let deadline = Instant::now() + Duration::from_secs(2);
            let mut idle_since = Instant::now();
            while Instant::now() < deadline && idle_since.elapsed() < Duration::from_millis(20) {
                match rustix::net::recv(&connection.fd, &mut self.buffer[HEADER..], RecvFlags::empty()) {
                    Ok((0, _)) => {
                        report.cut += 1;
                        break;
                    }
                    Ok((read, _)) => {
                        connection.carry.scan(&mut self.buffer, read, |_| report.events += 1);
                        idle_since = Instant::now();
                    }
                    Err(Errno::AGAIN | Errno::INTR) => std::thread::sleep(Duration::from_millis(1)),
                    Err(_) => {
                        report.cut += 1;
                        break;
                    }
                }
            }
        }
        report
    }

    fn tell_progress(&mut self) -> Result<()> {
        let delivered = self.ledger.delivered();
        if delivered == self.told || self.told_at.elapsed() < PROGRESS {
            return Ok(());
        }
        (self.told, self.told_at) = (delivered, Instant::now());
        say(&Reply::Progress(delivered))
    }
}

fn say(reply: &Reply) -> Result<()> {
    let mut line = serde_json::to_vec(reply).map_err(|e| failed(format!("writing a reply: {e}")))?;
    line.push(b'\n');
    let mut out = stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).doing(|| "replying to the main process".into())
}
