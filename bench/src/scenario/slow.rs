//! One subscriber in a hundred never reads: the others must lose nothing, and the server must not grow without bound.

use std::time::Duration;

use super::Context;
use super::session::{Session, setup, watching_memory};
use crate::error::{BenchError, Result};
use crate::publish::{Gate, Load, Publisher};
use crate::target::{Need, Target};

const SLOW_EVERY: usize = 100;

/// Events published; four times what a subscriber may lag behind, and more than its socket's buffers hold.
const EVENTS: u64 = 4000;
const QUEUE: usize = 1000;
const WINDOW: u64 = 256;
const PAYLOAD: usize = 1024;

/// Slower servers do not pass.
const LIMIT: Duration = Duration::from_secs(50);
const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn run(context: &mut Context<'_>) {
    context.rounds("slow", Need::Fanout, session);
}

fn session(context: &mut Context<'_>, target: &Target) -> Result<()> {
    let case = "slow 1 % never read";
    let args = context.args;
    let subscribers = context.subscribers(1000);
    let setup = setup(Need::Slow, subscribers, QUEUE);
    let mut session = Session::start(target, &setup, &args.programs, context.workers)?;
    let mut plan = session.server.plan(subscribers);
    plan.slow_every = SLOW_EVERY;
    session.connect(&plan)?;
    let mut publisher = Publisher::open(&session.server.publish, 1, None)?;
    let load = Load { rate: None, time: LIMIT, limit: EVENTS, batch: args.batch.min(4), payload: PAYLOAD };
    let (metrics, before) = (session.server.metrics_text(), session.server.process.memory());
    session.fleet.measure()?;
    let readers = session.fleet.readers();
    let (sent, peak) = watching_memory(&mut session, |fleet, _| {
        let gate = Gate { delivered: fleet.counters(), readers, window: target.window(WINDOW) };
        let sent = publisher.run(&load, Some(&gate))?;
        fleet.wait_for(publisher.total() * readers, super::session::PATIENCE);
        Ok(sent)
    })?;
    let totals = session.reconcile(&publisher)?;
    let after = session.server.process.memory();
    let report = session.fleet.read_slow()?;
    if sent.events < EVENTS {
        return Err(BenchError::Run(format!(
            "only {} of {EVENTS} events were published in time",
            sent.events
        )));
    }
    let seconds = totals.last_at.saturating_sub(sent.started).max(1) as f64 / 1e6;
    context.add(case, "deliveries/s", target, totals.delivered as f64 / seconds);
    context.add(case, "p99 ms", target, totals.latency.percentile_ms(99.0));
    context.add(case, "PSS MiB before", target, before.pss as f64 / MIB);
    context.add(case, "PSS MiB peak", target, peak.pss as f64 / MIB);
    context.add(case, "PSS MiB after", target, after.pss as f64 / MIB);
    context.add(case, "slow cut off, %", target, 100.0 * report.cut as f64 / report.slow.max(1) as f64);
    context.add(case, "events/slow one", target, report.events as f64 / report.slow.max(1) as f64);
    for change in changes(&metrics, &session.server.metrics_text()) {
        context.report.note(format!("{case}: {}: {change}", target.name()));
    }
    Ok(())
}

/// Metrics about drops and closed connections that changed, as `name before → after`.
fn changes(before: &str, after: &str) -> Vec<String> {
    let about = |name: &str| ["drop", "slow", "closed", "cut", "reject"].iter().any(|w| name.contains(w));
    let old =
        |name: &str| before.lines().find_map(|l| l.rsplit_once(' ').filter(|(n, _)| *n == name)).map(|p| p.1);
    after
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.rsplit_once(' '))
        .filter(|(name, value)| about(name) && old(name).unwrap_or("0") != *value)
        .map(|(name, value)| format!("{name} {} → {value}", old(name).unwrap_or("0")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changed_metrics_about_drops_are_shown() {
        let before = "# TYPE x counter\nx_dropped_total{r=\"a\"} 1\nx_sent_total 5\nx_cut_total 0\n";
        let after = "x_dropped_total{r=\"a\"} 4\nx_dropped_total{r=\"b\"} 2\nx_sent_total 9\nx_cut_total 0\n";
        assert_eq!(
            changes(before, after),
            ["x_dropped_total{r=\"a\"} 1 → 4", "x_dropped_total{r=\"b\"} 0 → 2"]
        );
    }
}
