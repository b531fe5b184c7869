//! Counters that the shards keep and others read.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Why the proxy ended a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// The client went away.
    Hangup,
    /// The socket failed.
    Error,
    /// Too far behind, by policy.
    Slow,
    /// What it was still to get had to be dropped to stay within the memory for history.
    Overrun,
    /// Memory ran short and it was the furthest behind.
    Memory,
    /// Its token expired.
    Expired,
    /// Its token was revoked, or an administrator ended it.
    Revoked,
    /// The instance drains.
    Drained,
}

/// Totals since the start, over all shards.
#[derive(Debug, Default)]
pub struct Stats {
    /// Events written to subscribers.
    pub events: AtomicU64,
    /// Bytes written to subscribers.
    pub bytes: AtomicU64,
    /// Events that slow subscribers did not get.
    pub dropped: AtomicU64,
    /// Subscribers that have been connected.
    pub connected: AtomicU64,
    /// Subscribers connected now.
    pub active: AtomicU64,
    /// Subscribers that are behind now.
    pub behind: AtomicU64,
    /// Streams that ended, by reason.
    pub ended: [AtomicU64; CutReason::ALL.len()],
    /// From acceptance by this instance to the last write of a batch.
    pub latency: Histogram<{ LATENCY_US.len() }>,
    /// How long subscribers stayed.
    pub duration: Histogram<{ DURATION_S.len() }>,
}

/// Upper bounds of the latency buckets, in microseconds.
pub const LATENCY_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000,
];

/// Upper bounds of the duration buckets, in seconds.
pub const DURATION_S: [u64; 10] = [1, 10, 30, 60, 300, 900, 3_600, 14_400, 43_200, 86_400];

/// A histogram of whole numbers that any thread may add to.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [u64; N],
    buckets: [AtomicU64; N],
    beyond: AtomicU64,
    sum: AtomicU64,
}

// === impl CutReason ===

impl CutReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Hangup,
        Self::Error,
        Self::Slow,
        Self::Overrun,
        Self::Memory,
        Self::Expired,
        Self::Revoked,
        Self::Drained,
    ];

    /// The value of the metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hangup => "hangup",
            Self::Error => "error",
            Self::Slow => "slow",
            Self::Overrun => "overrun",
            Self::Memory => "memory",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Drained => "drained",
        }
    }
}

// === impl Stats ===

impl Stats {
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// A subscriber has fallen behind, or is behind no more.
    pub(super) fn count_behind(&self, behind: bool) {
        if behind {
            Self::add(&self.behind, 1);
        } else {
            self.behind.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A subscriber has come.
    pub(super) fn joined(&self) {
        Self::add(&self.connected, 1);
        Self::add(&self.active, 1);
    }

    /// A subscriber has gone after some time.
    pub(super) fn left(&self, reason: CutReason, seconds: u64) {
        Self::add(&self.ended[reason as usize], 1);
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.duration.observe(seconds, 1);
    }

    /// A batch of `deliveries` has been written, whose first event was accepted this long ago.
    pub(super) fn delivered(&self, ago: Duration, deliveries: u64) {
        if deliveries > 0 {
            self.latency.observe(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX), deliveries);
        }
    }
}

// === impl Histogram ===

impl<const N: usize> Histogram<N> {
    /// With these ascending upper bounds.
    pub const fn new(bounds: [u64; N]) -> Self {
        Self {
            bounds,
            buckets: [const { AtomicU64::new(0) }; N],
            beyond: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a value `times` times.
    pub fn observe(&self, value: u64, times: u64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        bucket.map_or(&self.beyond, |i| &self.buckets[i]).fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
    }

    /// Bounds with the count of values in each bucket alone, the count beyond the last bound, and the sum.
    pub fn read(&self) -> (Vec<(u64, u64)>, u64, u64) {
        let load = |a: &AtomicU64| a.load(Ordering::Relaxed);
        let buckets = self.bounds.iter().copied().zip(self.buckets.iter().map(load)).collect();
        (buckets, load(&self.beyond), load(&self.sum))
    }
}

impl Default for Histogram<{ LATENCY_US.len() }> {
    fn default() -> Self {
        Self::new(LATENCY_US)
    }
}

impl Default for Histogram<{ DURATION_S.len() }> {
    fn default() -> Self {
        Self::new(DURATION_S)
    }
}
