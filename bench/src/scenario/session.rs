//! A server with subscribers, and the measurement of one load on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::{Connect, Fleet, Totals};
use crate::error::{BenchError, Result, failed};
use crate::proc::Memory;
use crate::publish::{Gate, Load, Publisher, Sent};
use crate::target::{Auth, Need, Programs, Server, Setup, Target};

/// When nothing more arrives for so long, the rest is lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A running server and its clients; the clients go first.
pub(super) struct Session {
    pub(super) fleet: Fleet,
    pub(super) server: Server,
}

/// What one load did.
pub(super) struct Measured {
    pub(super) sent: Sent,
    pub(super) totals: Totals,
    /// Deliveries made by this load.
    pub(super) deliveries: f64,
    /// Seconds of CPU the server used for it.
    pub(super) cpu: f64,
}

// === impl Session ===

impl Session {
    /// Starts `target`, and `workers` client processes without subscribers.
    pub(super) fn start(target: &Target, setup: &Setup, programs: &Programs, workers: usize) -> Result<Self> {
        let server = target.start(setup, programs)?;
        Ok(Self { fleet: Fleet::start(workers)?, server })
    }

    /// Connects subscribers and gives the server a moment to finish with them.
    pub(super) fn connect(&mut self, plan: &Connect) -> Result<Duration> {
        let took = self.fleet.connect(plan)?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(took)
    }

    /// Publishes `load`, waits for all deliveries and reconciles them. Without a pace, at most `window` events are under
    /// way.
    pub(super) fn measure(
        &mut self,
        publisher: &mut Publisher,
        load: &Load,
        readers: u64,
        window: u64,
    ) -> Result<Measured> {
        self.fleet.measure()?;
        let delivered_before = self.fleet.delivered();
        let gate = Gate { delivered: self.fleet.counters(), readers, window };
        let cpu = self.server.process.cpu();
        let sent = publisher.run(load, load.rate.is_none().then_some(&gate))?;
        self.fleet.wait_for(publisher.total() * readers, PATIENCE);
        let cpu = cpu.seconds_until(&self.server.process.cpu());
        let totals = self.reconcile(publisher)?;
        let deliveries = totals.delivered.saturating_sub(delivered_before) as f64;
        Ok(Measured { sent, totals, deliveries, cpu })
    }

    /// Fails unless every subscriber got exactly what was published.
    pub(super) fn reconcile(&mut self, publisher: &Publisher) -> Result<Totals> {
        let totals = self.fleet.report()?;
        let verdict = self.fleet.settle(&publisher.expected())?;
        if !verdict.is_exact() {
            let log = self.server.process.log_tail();
            return Err(BenchError::Mismatch(format!(
                "{verdict}; {} streams ended early; {log}",
                totals.ended
            )));
        }
        if totals.ended > 0 {
            return Err(failed(format!("{} streams ended early, without a loss yet", totals.ended)));
        }
        Ok(totals)
    }
}

// === impl Measured ===

impl Measured {
    /// Deliveries per second, from the first publish to the last delivery.
    pub(super) fn rate(&self) -> f64 {
        self.deliveries / (self.totals.last_at.saturating_sub(self.sent.started).max(1) as f64 / 1e6)
    }

    /// The server's CPU microseconds per delivery, which is seconds per million.
    pub(super) fn cpu_per_delivery(&self) -> f64 {
        self.cpu * 1e6 / self.deliveries.max(1.0)
    }
}

/// A setup without authentication and with room for `queue` events.
pub(super) fn setup(need: Need, subscribers: usize, queue: usize) -> Setup {
    Setup { need, subscribers, auth: Auth::Anonymous, queue, policy: "drop_newest" }
}

/// Calls `body` while a thread samples the server's memory; answers the largest sample as well.
pub(super) fn watching_memory<T>(
    session: &mut Session,
    body: impl FnOnce(&mut Fleet, &Server) -> Result<T>,
) -> Result<(T, Memory)> {
    let stop = AtomicBool::new(false);
    let Session { fleet, server } = session;
    let server = &*server;
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = Memory::default();
            while !stop.load(Ordering::Relaxed) {
                let now = server.process.memory();
                peak = Memory { pss: peak.pss.max(now.pss), rss: peak.rss.max(now.rss) };
                std::thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        let outcome = body(fleet, server);
        stop.store(true, Ordering::Relaxed);
        let peak = sampler.join().map_err(|_| failed("the memory sampler panicked"))?;
        Ok((outcome?, peak))
    })
}
