//! Who got what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Sub;
use std::time::Instant;

use parking_lot::Mutex;

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) refused_publishes: u64,
    pub(super) delivered: u64,
    /// Events that were accepted after somebody's first event of the topic, and did not reach it before a later one.
    pub(super) missed: u64,
    pub(super) repeated: u64,
    /// Streams that said that something may be missing.
    pub(super) gaps: u64,
    /// Streams that ended.
    pub(super) ends: u64,
    /// Connects that were refused or answered with something else than a stream.
    pub(super) refused_connects: u64,
    /// Subscribers that gave up.
    pub(super) lost_for_good: u64,
}

/// The newest event of each topic at a moment.
pub(super) struct Mark(Vec<Option<u64>>);

/// All that is noted.
pub(super) struct Books {
    topics: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    counts: Counts,
    /// What was accepted, by topic.
    accepted: Vec<BTreeSet<u64>>,
    subscribers: Vec<Seen>,
    /// When streams were opened again.
    reconnects: Vec<Instant>,
}

#[derive(Default)]
struct Seen {
    /// Every event.
    events: BTreeSet<u64>,
}

// === impl Books ===

impl Books {
    pub(super) fn new(subscribers: usize, topics: usize) -> Self {
        let inner = Inner {
            counts: Counts::default(),
            accepted: vec![BTreeSet::new(); topics],
            subscribers: (0..subscribers).map(|_| Seen::default()).collect(),
            reconnects: Vec::new(),
        };
        Self { topics, inner: Mutex::new(inner) }
    }

    pub(super) fn topics(&self) -> usize {
        self.topics
    }

    pub(super) fn topic(&self, subscriber: usize) -> usize {
        subscriber % self.topics
    }

    pub(super) fn accepted(&self, topic: usize, number: u64) {
        let mut inner = self.inner.lock();
        inner.accepted[topic].insert(number);
        inner.counts.accepted += 1;
    }

    pub(super) fn refused(&self) {
        self.inner.lock().counts.refused_publishes += 1;
    }

    pub(super) fn delivered(&self, subscriber: usize, number: u64) {
        let mut inner = self.inner.lock();
        inner.counts.delivered += 1;
        if !inner.subscribers[subscriber].events.insert(number) {
            inner.counts.repeated += 1;
        }
    }

    pub(super) fn gap(&self) {
        self.inner.lock().counts.gaps += 1;
    }

    pub(super) fn ended(&self) {
        self.inner.lock().counts.ends += 1;
    }

    pub(super) fn reconnected(&self) {
        self.inner.lock().reconnects.push(Instant::now());
    }

    pub(super) fn connect_refused(&self) {
        self.inner.lock().counts.refused_connects += 1;
    }

    pub(super) fn lost(&self) {
        self.inner.lock().counts.lost_for_good += 1;
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.inner.lock().accepted.iter().map(|numbers| numbers.last().copied()).collect())
    }

    /// Whether every subscriber has an event that is newer than the mark.
    pub(super) fn all_heard_since(&self, mark: &Mark) -> bool {
        self.count_silent(mark) == 0
    }

    pub(super) fn silent_since(&self, mark: &Mark) -> String {
        let silent = self.count_silent(mark);
        format!("{silent} subscribers have got nothing new; {}", self.counts())
    }

    fn count_silent(&self, mark: &Mark) -> usize {
        let inner = self.inner.lock();
        let is_silent = |(index, seen): &(usize, &Seen)| {
            let newest = seen.events.last().copied();
            newest.is_none() || newest <= mark.0[self.topic(*index)]
        };
        inner.subscribers.iter().enumerate().filter(is_silent).count()
    }

    /// What has happened so far. What is still on its way to a subscriber is not missed.
    pub(super) fn counts(&self) -> Counts {
        let inner = self.inner.lock();
        let missed = |(index, seen): (usize, &Seen)| {
            let (Some(first), Some(last)) = (seen.events.first(), seen.events.last()) else { return 0 };
            let wanted = inner.accepted[self.topic(index)].range(*first..=*last);
            wanted.filter(|number| !seen.events.contains(number)).count() as u64
        };
        Counts { missed: inner.subscribers.iter().enumerate().map(missed).sum(), ..inner.counts }
    }

    /// How many streams were opened again in each second since.
    pub(super) fn histogram_since(&self, start: Instant) -> BTreeMap<u64, usize> {
        let mut histogram = BTreeMap::new();
        for at in self.inner.lock().reconnects.iter().filter(|at| **at >= start) {
            *histogram.entry(at.duration_since(start).as_secs()).or_default() += 1;
        }
        histogram
    }
}

// === impl Counts ===

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            accepted: self.accepted - before.accepted,
            refused_publishes: self.refused_publishes - before.refused_publishes,
            delivered: self.delivered - before.delivered,
            missed: self.missed.saturating_sub(before.missed),
            repeated: self.repeated - before.repeated,
            gaps: self.gaps - before.gaps,
            ends: self.ends - before.ends,
            refused_connects: self.refused_connects - before.refused_connects,
            lost_for_good: self.lost_for_good - before.lost_for_good,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events accepted, {} publishes failed, {} delivered, {} missed, {} repeated, {} gaps told, {} streams ended, \
             {} connects refused, {} subscribers lost",
            self.accepted,
            self.refused_publishes,
            self.delivered,
            self.missed,
            self.repeated,
            self.gaps,
            self.ends,
            self.refused_connects,
            self.lost_for_good
        )
    }
}
