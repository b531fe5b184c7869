//! Many subscribers over many instances: every event published anywhere comes to each subscriber of its topic once.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::instances::{Instances, Settings};
use super::{ClusterArgs, Outcome};
use crate::client::{Connect, Expected, Fleet, Topics, Totals};
use crate::error::{BenchError, Result};
use crate::ledger::Verdict;
use crate::proc::{CpuMark, slab_bytes};
use crate::progress;
use crate::publish::{Load, Publisher, Sent};
use crate::table::{align, number, thousands};

/// A client process may open 20,000 descriptors, and needs some for itself.
const PER_PROCESS: usize = 18_500;

/// Publisher connections to each instance, of which payloads can name 256 altogether. Requests of one are answered one
/// after the other.
const CONNECTIONS: usize = 4;

/// Subscribers of a client process that connect at once.
const IN_FLIGHT: usize = 32;

/// How long instances are watched before anything is published.
const IDLE: Duration = Duration::from_secs(5);

/// When nothing more arrives for so long, the rest is lost.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the mesh says of itself.
const METRICS: [&str; 5] = [
    "revenprox_mesh_events_forwarded_total",
    "revenprox_mesh_events_taken_total",
    "revenprox_mesh_events_unwanted_total",
    "revenprox_mesh_lost_total",
    "revenprox_mesh_events_dropped_total",
];

/// Memory at the stages of a run, in bytes.
#[derive(Default)]
struct Memory {
    /// Instances without subscribers.
    empty: Vec<u64>,
    /// With them.
    full: Vec<u64>,
    /// After the load.
    loaded: Vec<u64>,
    /// What the kernel's slab caches took for the connections.
    slab: u64,
}

/// Everything measured.
struct Measured {
    connect: Duration,
    memory: Memory,
    sent: Sent,
    totals: Totals,
    /// Deliveries there should have been.
    owed: u64,
    verdict: Verdict,
    /// Cores that all instances used while nothing was published.
    idle: f64,
    /// CPU of all instances during the load, in seconds.
    cpu: f64,
    mesh: [f64; METRICS.len()],
    logs: String,
}

/// Measures and describes.
pub(super) fn run(args: &ClusterArgs) -> Result<Outcome> {
    let measured = measure(args)?;
    let exact = measured.verdict.is_exact() && measured.totals.ended == 0;
    let verdict = if exact {
        Ok(())
    } else {
        let (verdict, ended, logs) = (&measured.verdict, measured.totals.ended, &measured.logs);
        Err(BenchError::Mismatch(format!("{verdict}; {ended} streams ended early{logs}")))
    };
    Ok(Outcome { text: align(&rows(args, &measured)), verdict })
}

fn measure(args: &ClusterArgs) -> Result<Measured> {
    let each = args.subscribers().div_ceil(args.instances());
    let settings = Settings { connections: each + 200, history: 20, retry_ms: 0, drain_sec: 0 };
    let cluster = Instances::start(args.instances(), &args.proxy, &settings)?;
    let mut memory = Memory { empty: cluster.memory(), ..Memory::default() };
    let slab = slab_bytes();
    // Declared after the instances, so that subscribers go first.
    let mut fleet = Fleet::start(args.subscribers().div_ceil(PER_PROCESS))?;
    progress::step("subscribers connect");
    let connect = fleet.connect(&plan(args, &cluster))?;
    (memory.full, memory.slab) = (cluster.memory(), slab_bytes().saturating_sub(slab));
    progress::step("nothing happens");
    let idle = cluster.cpu();
    std::thread::sleep(IDLE);
    let idle = used(&idle, &cluster) / IDLE.as_secs_f64();
    let mut publisher = Publisher::open_at_random(&cluster.addresses(), CONNECTIONS, args.topics())?;
    let time = Duration::from_secs_f64(args.seconds());
    let load = Load { rate: Some(args.rate()), time, limit: u64::MAX, batch: 1, payload: args.payload };
    progress::step("events are published");
    fleet.measure()?;
    let (before, cpu) = (mesh(&cluster)?, cluster.cpu());
    let sent = publisher.run(&load, None)?;
    let expected = publisher.expected();
    let owed = owed(args, &expected);
    fleet.wait_for(owed, PATIENCE);
    let cpu = used(&cpu, &cluster);
    let after = mesh(&cluster)?;
    memory.loaded = cluster.memory();
    let totals = fleet.report()?;
    let verdict = fleet.settle(&expected)?;
    let mesh = std::array::from_fn(|at| after[at] - before[at]);
    Ok(Measured { connect, memory, sent, totals, owed, verdict, idle, cpu, mesh, logs: cluster.logs() })
}

fn plan(args: &ClusterArgs, cluster: &Instances) -> Connect {
    Connect {
        addresses: cluster.addresses(),
        source: Ipv4Addr::LOCALHOST,
        first: 0,
        count: args.subscribers(),
        path: "/events/{topic}".into(),
        topics: Topics::Random(args.topics()),
        headers: Vec::new(),
        token: None,
        slow_every: 0,
        in_flight: IN_FLIGHT,
        publishers: args.instances() * CONNECTIONS,
        instances: args.instances(),
        first_sequence: 0,
    }
}

/// How many deliveries all subscribers together are owed.
fn owed(args: &ClusterArgs, expected: &Expected) -> u64 {
    let of_topic = |topic| -> u64 {
        (0..args.instances() * CONNECTIONS).map(|publisher| u64::from(expected.count(topic, publisher))).sum()
    };
    let of_topics: Vec<u64> = (0..args.topics()).map(of_topic).collect();
    (0..args.subscribers()).map(|subscriber| of_topics[Topics::Random(args.topics()).of(subscriber)]).sum()
}

/// Seconds of CPU that all instances used since these marks.
fn used(since: &[CpuMark], cluster: &Instances) -> f64 {
    since.iter().zip(cluster.cpu()).map(|(before, after)| before.seconds_until(&after)).sum()
}

fn mesh(cluster: &Instances) -> Result<[f64; METRICS.len()]> {
    let mut values = [0.0; METRICS.len()];
    for (value, name) in values.iter_mut().zip(METRICS) {
        *value = cluster.metric(name)?;
    }
    Ok(values)
}

fn rows(args: &ClusterArgs, m: &Measured) -> Vec<Vec<String>> {
    let mut rows = vec![vec!["quantity".into(), "value".into()]];
    let mut row = |what: &str, value: String| rows.push(vec![what.into(), value]);
    row("instances", args.instances().to_string());
    row("subscribers", thousands(args.subscribers() as f64));
    row("topics", thousands(args.topics() as f64));
    row("connects/s", number(args.subscribers() as f64 / m.connect.as_secs_f64()));
    memory_rows(args, &m.memory, &mut row);
    delivery_rows(m, &mut row);
    mesh_rows(m, &mut row);
    rows
}

fn memory_rows(args: &ClusterArgs, memory: &Memory, row: &mut impl FnMut(&str, String)) {
    const MIB: f64 = 1024.0 * 1024.0;
    let of_all = |each: &[u64]| {
        let (sum, max) = (each.iter().sum::<u64>() as f64, each.iter().max().copied().unwrap_or(0) as f64);
        format!("{} (largest {})", number(sum / each.len() as f64 / MIB), number(max / MIB))
    };
    let (empty, full): (u64, u64) = (memory.empty.iter().sum(), memory.full.iter().sum());
    let subscribers = args.subscribers() as f64;
    row("MiB PSS of an instance without subscribers", of_all(&memory.empty));
    row("MiB PSS of an instance with subscribers", of_all(&memory.full));
    row("MiB PSS of an instance after the load", of_all(&memory.loaded));
    row("bytes PSS per subscriber", number(full.saturating_sub(empty) as f64 / subscribers));
    row("bytes of kernel slab per subscriber, both ends", number(memory.slab as f64 / subscribers));
}

fn delivery_rows(m: &Measured, row: &mut impl FnMut(&str, String)) {
    let (totals, verdict) = (&m.totals, &m.verdict);
    let seconds = m.sent.ended.saturating_sub(m.sent.started).max(1) as f64 / 1e6;
    let (events, deliveries) = (m.sent.events as f64, totals.delivered as f64);
    row("events published", format!("{} ({}/s)", thousands(events), number(events / seconds)));
    row("deliveries owed", thousands(m.owed as f64));
    row("deliveries made", format!("{} ({}/s)", thousands(deliveries), number(deliveries / seconds)));
    row("lost", verdict.lost.to_string());
    row("repeated", verdict.repeated.to_string());
    row("unknown", verdict.unknown.to_string());
    row("streams ended early", totals.ended.to_string());
    for (which, latency) in [("own", &totals.latency), ("another", &totals.remote)] {
        row(&format!("deliveries published at {which} instance"), thousands(latency.count() as f64));
        row(&format!("  p50 ms, {which}"), number(latency.percentile_ms(50.0)));
        row(&format!("  p99 ms, {which}"), number(latency.percentile_ms(99.0)));
        row(&format!("  max ms, {which}"), number(latency.max_ms()));
    }
    row("publish answered, p50 ms", number(m.sent.answers.percentile_ms(50.0)));
    row("publish answered, p99 ms", number(m.sent.answers.percentile_ms(99.0)));
    row("cores used by all instances, nothing published", number(m.idle));
    row("CPU µs/delivery, all instances", number(m.cpu * 1e6 / deliveries.max(1.0)));
    row("CPU µs/event, all instances", number(m.cpu * 1e6 / events.max(1.0)));
}

fn mesh_rows(m: &Measured, row: &mut impl FnMut(&str, String)) {
    let [forwarded, taken, unwanted, lost, dropped] = m.mesh;
    let share = unwanted / (taken + unwanted).max(1.0) * 100.0;
    row("events forwarded between instances", thousands(forwarded));
    row("  delivered there", thousands(taken));
    row("  nobody wanted them there", format!("{} ({share:.2}%)", thousands(unwanted)));
    row("  lost or dropped by the mesh", thousands(lost + dropped));
}
