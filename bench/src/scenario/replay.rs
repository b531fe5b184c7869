//! 10,000 subscribers resume at once, each 100 events behind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Context;
use super::session::{PATIENCE, Session, setup, watching_memory};
use crate::clock::now_micros;
use crate::error::{Doing, Result, failed};
use crate::publish::{Load, Publisher, Style};
use crate::target::{Need, Target};

const MISSED: u64 = 100;
const PAYLOAD: usize = 100;

/// Connections of each client process that may be under way at once: a herd.
const IN_FLIGHT: usize = 1000;
const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn run(context: &mut Context<'_>) {
    context.rounds("replay", Need::Resume, session);
}

fn session(context: &mut Context<'_>, target: &Target) -> Result<()> {
    let case = "replay 100 events";
    let subscribers = context.subscribers(10_000);
    let setup = setup(Need::Resume, subscribers, 1000);
    let mut session = Session::start(target, &setup, &context.args.programs, context.workers)?;
    let mut publisher = Publisher::open(&session.server.publish, 1, None)?;
    let load =
        |limit| Load { rate: Some(1000.0), time: Duration::from_secs(5), limit, batch: 1, payload: PAYLOAD };
    let point = first_event(&session, &mut publisher, &load(1))?;
    publisher.run(&load(MISSED), None)?;

    let mut plan = session.server.plan(subscribers);
    (plan.in_flight, plan.first_sequence) = (IN_FLIGHT, 1);
    if session.server.publish.style == Style::DurableStreams {
        plan.path = format!("/{{topic}}?offset={point}&live=sse");
    } else {
        plan.headers.push(format!("Last-Event-ID: {point}"));
    }
    session.fleet.measure()?;
    let (before, cpu) = (session.server.process.memory(), session.server.process.cpu());
    let started = now_micros();
    let readers = subscribers as u64;
    let (connected, peak) = watching_memory(&mut session, |fleet, _| {
        let connected = fleet.connect(&plan)?;
        fleet.wait_for(readers * MISSED, PATIENCE);
        Ok(connected)
    })?;
    let cpu = cpu.seconds_until(&session.server.process.cpu());
    let caught_up = session.fleet.report()?.last_at.saturating_sub(started);
    // All are live now, and what comes next joins on without a seam.
    publisher.run(&load(1), None)?;
    session.fleet.wait_for(readers * (MISSED + 1), PATIENCE);
    session.reconcile(&publisher)?;

    context.add(case, "all caught up, ms", target, caught_up as f64 / 1000.0);
    context.add(case, "all connected, ms", target, connected.as_secs_f64() * 1000.0);
    context.add(case, "CPU µs/subscriber", target, cpu * 1e6 / subscribers as f64);
    context.add(case, "PSS MiB before", target, before.pss as f64 / MIB);
    context.add(case, "PSS MiB peak", target, peak.pss as f64 / MIB);
    context.add(case, "RSS MiB peak", target, peak.rss as f64 / MIB);
    Ok(())
}

/// Publishes the first event and answers what a subscriber that got it resumes after. The floor needs no name for it.
fn first_event(session: &Session, publisher: &mut Publisher, load: &Load) -> Result<String> {
    let server = &session.server;
    if server.publish.style == Style::Floor {
        publisher.run(load, None)?;
        return Ok("first".into());
    }
    let mut probe = Probe::open(server.subscribe[0], &server.path.replace("{topic}", "t0"))?;
    publisher.run(load, None)?;
    probe.read_until(|text| {
        // The payload's mark, and whatever follows the event in the same write.
        let (_, rest) = text.split_once('~')?;
        rest.contains("\n\n").then(|| server.publish.style.resume_point(text)).flatten()
    })
}

/// A subscriber of which every byte is looked at.
struct Probe {
    stream: TcpStream,
    text: String,
}

// === impl Probe ===

impl Probe {
    fn open(address: SocketAddr, path: &str) -> Result<Self> {
        let doing = || format!("subscribing to {path}");
        let mut stream = TcpStream::connect(address).doing(doing)?;
        stream.set_read_timeout(Some(Duration::from_millis(200))).doing(doing)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        stream.write_all(request.as_bytes()).doing(doing)?;
        let mut probe = Self { stream, text: String::new() };
        probe.read_until(|text| text.contains("\r\n\r\n").then_some(()))?;
        Ok(probe)
    }

    /// Reads until `found` finds something in everything read so far, at most five seconds.
    fn read_until<T>(&mut self, found: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            if let Some(found) = found(&self.text) {
                return Ok(found);
            }
            if let Ok(read @ 1..) = self.stream.read(&mut buffer) {
                self.text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        }
        Err(failed(format!("a probe waited in vain; it read: {}", self.text)))
    }
}
