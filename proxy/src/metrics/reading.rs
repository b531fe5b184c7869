//! What one scrape has read, as plain numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{mesh::RemoteReading, process::ProcessReading};
use crate::{
    delivery::{CutReason, Stats, stats::Histogram},
    edge::turn_away::Passing,
    governor::CEILINGS,
    mesh,
    server::Server,
};

/// All numbers that are not authentication's, at about one moment.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Subscribers that are connected.
    pub active: u64,
    /// Subscribers that have ever been connected.
    pub connected: u64,
    /// Subscribers turned away, in the order of [`Passing::ALL`].
    pub refused: [u64; Passing::ALL.len()],
    /// Streams that ended, in the order of [`CutReason::ALL`].
    pub ended: [u64; CutReason::ALL.len()],
    /// How long subscribers stayed, in seconds.
    pub duration: Buckets,
    /// Connections that are with hyper.
    pub http_open: u64,
    /// Events written to subscribers.
    pub sent: u64,
    /// Events that slow subscribers did not get.
    pub dropped: u64,
    /// Bytes written to subscribers.
    pub bytes: u64,
    /// From acceptance to the last write of a batch, in microseconds.
    pub latency: Buckets,
    /// Subscribers that are behind.
    pub behind: u64,
    /// Events accepted from publishers.
    pub accepted: u64,
    /// Publishers that wait for delivery.
    pub waiting: u64,
    /// Publishes refused because delivery did not catch up.
    pub congested: u64,
    /// Topics that are known.
    pub topics: u64,
    /// Bytes that logs hold.
    pub history_bytes: u64,
    /// Bytes of history dropped for the sake of the global budget.
    pub history_evicted: u64,
    /// Idempotency keys that are remembered.
    pub keys: u64,
    /// Idempotency keys forgotten before their time.
    pub keys_forgotten: u64,
    /// Addresses of clients forgotten before their time.
    pub addresses_forgotten: u64,
    /// Traced events forgotten before all shards had delivered them.
    pub traced_forgotten: u64,
    /// Whether newcomers are turned away for it, in the order of [`CEILINGS`].
    pub ceilings: [bool; CEILINGS.len()],
    /// How often the history was made smaller for want of memory.
    pub shrunk: u64,
    /// Revocations in force.
    pub revocations: u64,
    /// Revocations that were not taken.
    pub revocations_rejected: u64,
    /// Times that the configuration was read again, as `applied` and `rejected`.
    pub reloads: [u64; 2],
    /// Where the instance is in its life: 0 serving, 1 draining, 2 closing.
    pub phase: u64,
    /// What others brought.
    pub remote: RemoteReading,
    /// The mesh.
    pub mesh: mesh::Reading,
    /// What the operating system says of the process.
    pub process: ProcessReading,
}

/// A histogram: upper bounds with the count of values in each bucket alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Ascending.
    pub bounded: Vec<(u64, u64)>,
    /// Values above the last bound.
    pub beyond: u64,
    /// Of all values.
    pub sum: u64,
}

// === impl Reading ===

impl Reading {
    /// Reads a server, without what the operating system says.
    pub fn of(server: &Server) -> Self {
        let (keys, keys_forgotten) = server.keys.counts();
        let hub = &server.hub;
        let delivered = Self::delivered(server.delivery.stats());
        Self {
            active: server.admission.connections(),
            refused: Passing::ALL.map(|why| server.refusals.of(why)),
            http_open: server.open_connections.load(Ordering::Relaxed) as u64,
            accepted: hub.accepted(),
            waiting: hub.waiting() as u64,
            congested: hub.congested(),
            topics: hub.topic_count() as u64,
            history_bytes: hub.history_bytes(),
            history_evicted: hub.evicted_bytes(),
            keys: keys as u64,
            keys_forgotten,
            addresses_forgotten: server.admission.forgotten_early(),
            traced_forgotten: hub.traced().forgotten(),
            ceilings: CEILINGS.map(|why| server.pressure.refuses() == Some(why)),
            shrunk: server.pressure.shrunk(),
            revocations: server.revoked.in_force() as u64,
            revocations_rejected: server.revoked.rejected(),
            reloads: [server.reloads.applied(), server.reloads.rejected()],
            phase: server.phase() as u64,
            remote: RemoteReading {
                taken: hub.remote().appended(),
                unwanted: hub.remote().unwanted(),
                refused: hub.remote().refused(),
                reordered: hub.reordered(),
            },
            mesh: server.mesh().map(|mesh| mesh.reading()).unwrap_or_default(),
            ..delivered
        }
    }

    /// One that has everything that can be labelled: to describe metrics by.
    pub fn example() -> Self {
        Self { mesh: mesh::Reading::example(), ..Self::default() }
    }

    fn delivered(stats: &Stats) -> Self {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            connected: load(&stats.connected),
            ended: std::array::from_fn(|i| load(&stats.ended[i])),
            duration: Buckets::of(&stats.duration),
            sent: load(&stats.events),
            dropped: load(&stats.dropped),
            bytes: load(&stats.bytes),
            latency: Buckets::of(&stats.latency),
            behind: load(&stats.behind),
            ..Self::default()
        }
    }
}

// === impl Buckets ===

impl Buckets {
    fn of<const N: usize>(histogram: &Histogram<N>) -> Self {
        let (bounded, beyond, sum) = histogram.read();
        Self { bounded, beyond, sum }
    }
}
