//! Events whose publish is traced, until the shards with subscribers have looked at them.
//!
//! An event in a log knows nothing of its trace. This list does, for the few that are sampled; it is written
//! under the lock of the event's log, so a shard that finds an event there finds its trace here.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use opentelemetry::trace::SpanContext;
use parking_lot::Mutex;

use crate::topic::TopicId;

/// How many events are remembered at a time.
const EVENTS_MAX: usize = 1024;

/// How long an event is remembered whose shard does not look any more, having lost its subscribers.
const AGE_MAX: Duration = Duration::from_secs(5);

/// The list.
#[derive(Default)]
pub struct Traced {
    on: AtomicBool,
    /// Its length, for those who need not look when it is empty.
    len: AtomicUsize,
    events: Mutex<VecDeque<TracedEvent>>,
    forgotten: AtomicU64,
}

struct TracedEvent {
    topic: TopicId,
    seq: u64,
    /// The shards that have not looked, one bit each.
    shards: u64,
    context: SpanContext,
    since: Instant,
}

// === impl Traced ===

impl Traced {
    /// Publishes are traced from now on.
    pub fn switch_on(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// Whether publishes are traced.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Events that were forgotten before all shards had looked, because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Remembers event number `seq` of a topic for some shards. Call it under the lock of the topic's log.
    pub(super) fn remember(&self, topic: TopicId, seq: u64, shards: u64, context: SpanContext) {
        if shards == 0 {
            return;
        }
        let mut events = self.events.lock();
        if events.len() >= EVENTS_MAX {
            events.pop_front();
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        events.push_back(TracedEvent { topic, seq, shards, context, since: Instant::now() });
        self.len.store(events.len(), Ordering::SeqCst);
    }

    /// The traces of those events in a range that a shard is about to deliver.
    pub(crate) fn take(&self, topic: TopicId, shard: usize, range: Range<u64>) -> Vec<SpanContext> {
        if self.len.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let mut taken = Vec::new();
        let mut events = self.events.lock();
        events.retain_mut(|event| {
            if event.topic == topic && event.shards >> shard & 1 != 0 && range.contains(&event.seq) {
                event.shards &= !(1 << shard);
                taken.push(event.context.clone());
            }
            event.shards != 0 && event.since.elapsed() < AGE_MAX
        });
        self.len.store(events.len(), Ordering::SeqCst);
        taken
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    use super::*;
    use crate::topic::TopicName;

    fn context(n: u64) -> SpanContext {
        let (trace, span) = (TraceId::from(u128::from(n)), SpanId::from(n));
        SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
    }

    fn topic(name: &str) -> TopicId {
        TopicId::of(&TopicName::new(name).unwrap())
    }

    #[test]
    fn each_shard_takes_an_event_once() {
        let traced = Traced::default();
        let (a, b) = (topic("a"), topic("b"));
        traced.remember(a, 5, 0b101, context(1));
        traced.remember(b, 5, 0b001, context(2));
        traced.remember(a, 6, 0, context(3));
        assert_eq!(traced.take(a, 0, 0..5), []);
        assert_eq!(traced.take(a, 1, 0..9), []);
        assert_eq!(traced.take(a, 0, 0..9), [context(1)]);
        assert_eq!(traced.take(a, 0, 0..9), []);
        assert_eq!(traced.take(a, 2, 5..6), [context(1)]);
        assert_eq!(traced.take(b, 0, 5..6), [context(2)]);
        assert_eq!((traced.len.load(Ordering::Relaxed), traced.forgotten()), (0, 0));
    }

    #[test]
    fn there_are_never_more_than_allowed() {
        let traced = Traced::default();
        for n in 1..=EVENTS_MAX as u64 + 10 {
            traced.remember(topic("a"), n, 1, context(n));
        }
        assert_eq!(traced.forgotten(), 10);
        let left = traced.take(topic("a"), 0, 0..u64::MAX);
        assert_eq!((left.len(), &left[0]), (EVENTS_MAX, &context(11)));
    }
}
