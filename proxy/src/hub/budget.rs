//! One budget for the memory of all logs. Over it, the oldest segments go first, whatever topic they are of.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::topic::{Topic, WeakTopic};

/// Entries of segments that are gone already are cleared when they could be half of the queue.
const STALE_MIN: usize = 1024;

/// Bytes held by segments, and the order in which they came.
pub struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
    evicted: AtomicU64,
    order: Mutex<Order>,
}

#[derive(Default)]
struct Order {
    segments: VecDeque<(WeakTopic, u64)>,
    clear_at: usize,
}

// === impl Budget ===

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            order: Mutex::default(),
        }
    }

    /// A topic has a new segment that begins at `base`. Must not be called under a log's lock.
    pub(super) fn allocated(&self, topic: &Arc<Topic>, base: u64, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.remember(topic, base);
        self.enforce();
    }

    /// Drops the oldest segments until the limit holds.
    fn enforce(&self) {
        while self.used() > self.limit.load(Ordering::Relaxed) {
            let Some((topic, base)) = self.order.lock().segments.pop_front() else { return };
            let freed = topic.upgrade().map_or(0, |topic| topic.drop_through(base));
            self.freed(freed);
            self.evicted.fetch_add(freed, Ordering::Relaxed);
        }
    }

    pub(super) fn freed(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
        self.enforce();
    }

    /// Bytes of segments that went because of the limit.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    fn remember(&self, topic: &Arc<Topic>, base: u64) {
        let mut order = self.order.lock();
        order.segments.push_back((Arc::downgrade(topic), base));
        if order.segments.len() > order.clear_at.max(STALE_MIN) {
            let mut segments = std::mem::take(&mut order.segments);
            // The lock is not held meanwhile, because telling what is stale locks each topic's log.
            drop(order);
            segments.retain(|(topic, base)| {
                topic.upgrade().is_some_and(|t| t.read(|log| log.tail().offset <= *base).unwrap_or(false))
            });
            let mut order = self.order.lock();
            segments.append(&mut order.segments);
            order.clear_at = segments.len() * 2;
            order.segments = segments;
        }
    }
}
