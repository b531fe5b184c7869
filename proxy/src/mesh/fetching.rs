//! One fetch at a time for each topic.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::topic::TopicId;

/// Turns that nobody waits for any more are cleared when there could be this many.
const CLEAR_MIN: usize = 1024;

/// Who fetches what.
#[derive(Default)]
pub(super) struct Fetching {
    turns: Mutex<Turns>,
    done: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct Turns {
    topics: HashMap<TopicId, Weak<tokio::sync::Mutex<()>>>,
    clear_at: usize,
}

// === impl Fetching ===

impl Fetching {
    /// A fetch has ended.
    pub(super) fn ended(&self, in_time: bool) {
        let counter = if in_time { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Fetches that came in time, and those that did not.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// What those who need a topic take in turn. Their number is bounded by that of the connections.
    pub(super) fn turn(&self, topic: TopicId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        if let Some(turn) = turns.topics.get(&topic).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.topics.insert(topic, Arc::downgrade(&turn));
        if turns.topics.len() > turns.clear_at.max(CLEAR_MIN) {
            turns.topics.retain(|_, turn| turn.strong_count() > 0);
            turns.clear_at = turns.topics.len() * 2;
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_one_turn_while_somebody_wants_it() {
        let fetching = Fetching::default();
        let topic = TopicId::from_u128;
        let first = fetching.turn(topic(1));
        assert!(
            Arc::ptr_eq(&first, &fetching.turn(topic(1))) && !Arc::ptr_eq(&first, &fetching.turn(topic(2)))
        );
        for n in 10..10_000 {
            fetching.turn(topic(n));
        }
        assert!(fetching.turns.lock().topics.len() <= CLEAR_MIN + 1);
        assert!(Arc::ptr_eq(&first, &fetching.turn(topic(1))));
    }
}
