//! Events from others on their way into topics' logs.
//!
//! When delivery of a topic is behind, its events wait here, and with them whatever came after them from the same
//! instance. They are not acknowledged meanwhile, so their sender is held back and nobody else is.

use std::collections::{BTreeMap, VecDeque};

use revenprox_mesh::{
    identity::{NodeId, Session},
    wire::{Events, Mark},
};

use super::convert;
use crate::hub::{Hub, Remote, Taken};

/// A batch, or what is left of it.
pub(super) struct Batch {
    pub(super) from: NodeId,
    pub(super) session: Session,
    pub(super) mark: Mark,
    pub(super) events: Events,
}

/// Batches that wait, by sender. Their number is bounded by the windows of the links.
#[derive(Default)]
pub(super) struct Waiting(BTreeMap<NodeId, VecDeque<Batch>>);

// === impl Batch ===

impl Batch {
    /// Puts the events into their logs, in order, as far as there is room. `true` if that were all.
    fn take(&mut self, hub: &Hub) -> bool {
        while let Some(event) = self.events.first() {
            let remote = Remote {
                topic: convert::to_topic(event.topic),
                name: event.name,
                id: convert::to_id(event.stamp),
                after_id: event.block,
                trace: event.trace.map(convert::to_context),
            };
            if hub.take_remote(&remote) == Taken::Behind {
                return false;
            }
            self.events.advance();
        }
        true
    }
}

// === impl Waiting ===

impl Waiting {
    /// Takes a batch, unless an earlier one of the same sender waits. Returns it if it has been taken whole.
    pub(super) fn add(&mut self, mut batch: Batch, hub: &Hub) -> Option<Batch> {
        let waits = self.0.contains_key(&batch.from);
        if !waits && batch.take(hub) {
            return Some(batch);
        }
        self.0.entry(batch.from).or_default().push_back(batch);
        None
    }

    /// Tries again. Returns the batches that have been taken whole.
    pub(super) fn retry(&mut self, hub: &Hub) -> Vec<Batch> {
        let mut taken = Vec::new();
        self.0.retain(|_, batches| {
            while batches.front_mut().is_some_and(|batch| batch.take(hub)) {
                taken.extend(batches.pop_front());
            }
            !batches.is_empty()
        });
        taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(VecDeque::len).sum()
    }
}
