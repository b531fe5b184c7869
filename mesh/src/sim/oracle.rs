//! What has to become of every event.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::wire::Stamp;

/// Something that must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The event.
    pub event: Stamp,
    /// When it was published.
    pub at: Duration,
    /// The instance where it went wrong.
    pub instance: usize,
    /// What.
    pub what: Delivery,
}

/// How a delivery went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It did not come.
    Missing,
    /// It came more than once.
    Repeated,
}

#[derive(Default)]
pub(super) struct Oracle {
    events: BTreeMap<Stamp, Watched>,
    wasted: u64,
}

struct Watched {
    at: Duration,
    from: usize,
    owed: BTreeSet<usize>,
    arrived: BTreeMap<usize, u32>,
}

// === impl Oracle ===

impl Oracle {
    pub(super) fn published(&mut self, at: Duration, event: Stamp, from: usize, owed: Vec<usize>) {
        let watched = Watched { at, from, owed: owed.into_iter().collect(), arrived: BTreeMap::new() };
        self.events.insert(event, watched);
    }

    pub(super) fn arrived(&mut self, event: Stamp, at: usize, waits: bool) {
        self.wasted += u64::from(!waits);
        if let Some(watched) = self.events.get_mut(&event) {
            *watched.arrived.entry(at).or_default() += 1;
        }
    }

    /// An instance began anew: it is owed nothing of before, and what it published may be lost with it.
    pub(super) fn started(&mut self, instance: usize) {
        self.excuse(Duration::MAX, instance);
    }

    /// An instance took a peer for gone. What was on its way between the two may be lost.
    pub(super) fn parted(&mut self, now: Duration, instance: usize) {
        self.excuse(now, instance);
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (event, watched) in &self.events {
            let mut note = |instance, what| {
                violations.push(Violation { event: *event, at: watched.at, instance, what });
            };
            for instance in &watched.owed {
                if !watched.arrived.contains_key(instance) {
                    note(*instance, Delivery::Missing);
                }
            }
            for (instance, _) in watched.arrived.iter().filter(|(_, times)| **times > 1) {
                note(*instance, Delivery::Repeated);
            }
        }
        violations
    }

    /// How many events came to an instance.
    #[cfg(test)]
    pub(super) fn arrived_at(&self, instance: usize) -> u64 {
        self.events.values().filter(|watched| watched.arrived.contains_key(&instance)).count() as u64
    }

    pub(super) fn wasted(&self) -> u64 {
        self.wasted
    }

    fn excuse(&mut self, until: Duration, instance: usize) {
        for watched in self.events.values_mut().filter(|watched| watched.at <= until) {
            if watched.from == instance {
                watched.owed.retain(|other| watched.arrived.contains_key(other));
            } else if !watched.arrived.contains_key(&instance) {
                watched.owed.remove(&instance);
            }
        }
    }
}
