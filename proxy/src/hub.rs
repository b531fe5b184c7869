//! The hub: all topics of this instance, and the way from a publisher to the delivery shards.
//!
//! Publishing appends to the topic's log and tells the shards that have subscribers of it, once each until
//! they look. The log is the queue, so this is all the coordination there is: a shard that is busy finds
//! everything that arrived meanwhile in one piece.

pub mod budget;
pub mod keeping;
pub mod others;
pub mod resume;
pub mod topic;
pub mod traced;

use std::{
    hash::BuildHasher as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hashbrown::{HashTable, hash_table::Entry};
use opentelemetry::trace::SpanContext;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::{
    budget::Budget,
    others::RemoteCounts,
    topic::{Appended, Arriving, Stamp},
};
pub use self::{
    keeping::Holding,
    others::{Others, Remote, Taken},
    resume::{Gap, GapReason, Since, Start},
    topic::Topic,
    traced::Traced,
};
use crate::{
    delivery::Inbox,
    event::{Clock, EventId, Origin},
    log::Bounds,
    telemetry::trace,
    topic::{TopicId, TopicName},
};

/// Topics live in this many maps, each with its own lock.
const STRIPES: usize = 64;

/// How long a publisher waits for delivery to catch up before it is told to try again.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);

/// How many events of the proxy's own are kept.
const OWN_EVENTS_MAX: u64 = 16;

/// How much history is kept, and how far a subscriber may fall behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For each topic.
    pub per_topic: Bounds,
    /// Bytes over all topics.
    pub total_bytes: u64,
    /// Events that a slow subscriber may be behind: kept beyond `per_topic` while somebody is.
    pub queue_events: u64,
}

#[cfg(not(test))]
type Hashing = foldhash::fast::RandomState;

/// The order of topics is the same in every run of a simulation.
#[cfg(test)]
type Hashing = foldhash::fast::FixedState;

/// Delivery did not catch up in time; nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subscribers of this topic do not keep up; try again")]
pub struct Congested;

/// A [`Retention`] that every publisher reads and nobody waits for.
#[derive(Default)]
struct RetentionCell([AtomicU64; 5]);

/// All topics of this instance.
pub struct Hub {
    clock: Clock,
    stripes: Box<[Mutex<HashTable<Arc<Topic>>>]>,
    hasher: Hashing,
    topics: AtomicUsize,
    inboxes: Box<[Arc<Inbox>]>,
    retention: RetentionCell,
    budget: Budget,
    /// When the newest event was accepted that is gone together with its topic's log.
    forgotten_ms: AtomicU64,
    room: Notify,
    waiting: AtomicUsize,
    accepted: AtomicU64,
    congested: AtomicU64,
    traced: Traced,
    others: OnceLock<Arc<dyn Others>>,
    remote: RemoteCounts,
    reordered: [AtomicU64; 2],
}

// === impl Hub ===

impl Hub {
    /// A hub without topics that feeds the shards behind `inboxes`.
    pub fn new(origin: Origin, retention: Retention, inboxes: Vec<Arc<Inbox>>) -> Self {
        Self {
            clock: Clock::new(origin),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: Hashing::default(),
            topics: AtomicUsize::new(0),
            inboxes: inboxes.into(),
            budget: Budget::new(retention.total_bytes),
            retention: RetentionCell::new(&retention),
            forgotten_ms: AtomicU64::new(0),
            room: Notify::new(),
            waiting: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            congested: AtomicU64::new(0),
            traced: Traced::default(),
            others: OnceLock::new(),
            remote: RemoteCounts::default(),
            reordered: Default::default(),
        }
    }

    /// The topic of this name, made if need be. It lasts while somebody holds it or its log has events.
    pub fn topic(&self, name: &TopicName) -> Arc<Topic> {
        let id = TopicId::of(name);
        let hash = self.hasher.hash_one(id);
        let mut stripe = self.stripes[Self::stripe(hash)].lock();
        match stripe.entry(hash, |t| t.id() == id, |t| self.hasher.hash_one(t.id())) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                self.topics.fetch_add(1, Ordering::Relaxed);
                let topic = Arc::new(Topic::new(name.clone(), id));
                Arc::clone(entry.insert(topic).get())
            }
        }
    }

    /// The topic of this id, if there is one.
    pub fn find(&self, id: TopicId) -> Option<Arc<Topic>> {
        let hash = self.hasher.hash_one(id);
        self.stripes[Self::stripe(hash)].lock().find(hash, |topic| topic.id() == id).cloned()
    }

    /// Accepts one event: gives it an id, appends it and wakes the shards with subscribers. Waits while
    /// delivery of the topic is behind.
    pub async fn publish(&self, topic: &Arc<Topic>, after_id: &[u8]) -> Result<EventId, Congested> {
        if let Some(id) = self.try_publish(topic, after_id) {
            return Ok(id);
        }
        let wait = async {
            loop {
                let mut room = std::pin::pin!(self.room.notified());
                room.as_mut().enable();
                if let Some(id) = self.try_publish(topic, after_id) {
                    return id;
                }
                room.await;
            }
        };
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let published = tokio::time::timeout(ROOM_WAIT_MAX, wait).await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        published.map_err(|_| {
            self.congested.fetch_add(1, Ordering::Relaxed);
            Congested
        })
    }

    /// As [`publish`](Self::publish), or `None` at once if delivery is behind.
    pub fn try_publish(&self, topic: &Arc<Topic>, after_id: &[u8]) -> Option<EventId> {
        let context = self.context();
        let id = self.append(topic, after_id, Stamp::Next, &self.retention.get(), context.clone())?.id;
        self.accepted.fetch_add(1, Ordering::Relaxed);
        if let Some(others) = self.others.get() {
            others.publish(topic, id, after_id, context.as_ref());
        }
        Some(id)
    }

    /// A topic for the proxy's own use, which nobody finds by its name.
    pub(crate) fn reserved_topic(name: &'static str) -> Arc<Topic> {
        let name = TopicName::reserved(name);
        let id = TopicId::of(&name);
        Arc::new(Topic::new(name, id))
    }

    /// Sends an event of the proxy's own the way of all others. It is not counted, and only a few are kept, for
    /// shards that have yet to join. `None` if delivery is behind.
    pub(crate) fn publish_own(&self, topic: &Arc<Topic>, after_id: &[u8]) -> Option<EventId> {
        let per_topic = Bounds { events: OWN_EVENTS_MAX, bytes: u64::MAX, age_ms: u64::MAX };
        let retention = Retention { per_topic, ..self.retention.get() };
        self.append(topic, after_id, Stamp::Next, &retention, None).map(|appended| appended.id)
    }

    /// The span of what is being published, if it is traced.
    fn context(&self) -> Option<SpanContext> {
        if self.traced.is_on() { trace::current() } else { None }
    }

    fn append(
        &self,
        topic: &Arc<Topic>,
        after_id: &[u8],
        stamp: Stamp,
        retention: &Retention,
        context: Option<SpanContext>,
    ) -> Option<Appended> {
        let traced = context.map(|context| (&self.traced, context));
        let kept_since = || self.kept_since(topic.id());
        let event = Arriving { stamp, after_id, traced };
        let appended = topic.append(event, retention, &self.clock, now_ms(), kept_since)?;
        if appended.allocated > 0 {
            self.budget.allocated(topic, appended.base, appended.allocated);
        }
        self.budget.freed(appended.freed);
        if appended.is_new {
            self.wake(topic);
        }
        Some(appended)
    }

    /// Tells publishers that a shard has caught up with a topic.
    pub fn made_room(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.room.notify_waiters();
        }
    }

    /// Comes true when a shard has caught up with a topic.
    pub fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.notified()
    }

    /// One step of the housekeeping: drops what is too old from one 64th of the topics, and forgets topics
    /// that nobody uses. Call it with ascending `step`.
    pub fn sweep(&self, step: usize) {
        let retention = self.retention.get();
        let now = now_ms();
        let mut stripe = self.stripes[step % STRIPES].lock();
        stripe.retain(|topic| {
            self.budget.freed(topic.trim(&retention, now));
            // New holders come from this map, which is locked, or from another holder; so one is final.
            let unheld = Arc::strong_count(topic) == 1;
            if unheld && topic.withdraw() {
                self.withdraw(topic.id());
            }
            let unused = unheld && topic.is_empty();
            if unused {
                self.topics.fetch_sub(1, Ordering::Relaxed);
                self.forgotten_ms.fetch_max(topic.dropped().map_or(0, |id| id.ms), Ordering::Relaxed);
            }
            !unused
        });
        if stripe.capacity() > 64 && stripe.capacity() > stripe.len() * 4 {
            stripe.shrink_to_fit(|t| self.hasher.hash_one(t.id()));
        }
    }

    /// Changes what is kept, from the next event on.
    pub fn set_retention(&self, retention: Retention) {
        self.retention.set(&retention);
        self.budget.set_limit(retention.total_bytes);
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.load(Ordering::Relaxed)
    }

    /// Bytes of memory that logs hold.
    pub fn history_bytes(&self) -> u64 {
        self.budget.used()
    }

    /// Bytes of history that went before their time, because all of it together was too much.
    pub fn evicted_bytes(&self) -> u64 {
        self.budget.evicted()
    }

    /// How many events have been accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many publishers wait for delivery to catch up.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many publishers waited in vain.
    pub fn congested(&self) -> u64 {
        self.congested.load(Ordering::Relaxed)
    }

    /// Events whose way is traced.
    pub fn traced(&self) -> &Traced {
        &self.traced
    }

    /// Into how many parts the topics are divided.
    pub const STRIPES: usize = STRIPES;

    /// The topics of one part.
    pub fn topics_of(&self, stripe: usize) -> Vec<Arc<Topic>> {
        self.stripes[stripe % STRIPES].lock().iter().map(Arc::clone).collect()
    }

    /// Topics, up to `limit` of them, in no particular order.
    pub fn some_topics(&self, limit: usize) -> Vec<Arc<Topic>> {
        (0..STRIPES).flat_map(|stripe| self.topics_of(stripe)).take(limit).collect()
    }

    /// The clock that stamps events.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    fn wake(&self, topic: &Arc<Topic>) {
        let mut shards = topic.mark_dirty();
        while shards != 0 {
            self.inboxes[shards.trailing_zeros() as usize].dirty(Arc::clone(topic));
            shards &= shards - 1;
        }
    }

    fn stripe(hash: u64) -> usize {
        // The table uses the low bits and the seven highest; these are between.
        (hash >> 40) as usize % STRIPES
    }
}

// === impl RetentionCell ===

impl RetentionCell {
    fn new(retention: &Retention) -> Self {
        let cell = Self::default();
        cell.set(retention);
        cell
    }

    fn set(&self, r: &Retention) {
        let values =
            [r.per_topic.events, r.per_topic.bytes, r.per_topic.age_ms, r.total_bytes, r.queue_events];
        for (cell, value) in self.0.iter().zip(values) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// A reader during a change may see some of the values old and some new, which harms nothing.
    fn get(&self) -> Retention {
        let [events, bytes, age_ms, total_bytes, queue_events] =
            std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed));
        Retention { per_topic: Bounds { events, bytes, age_ms }, total_bytes, queue_events }
    }
}

/// Milliseconds since the Unix epoch by the system clock.
pub fn now_ms() -> u64 {
    #[cfg(test)]
    if let Some(now) = crate::sim::clock::now_ms() {
        return now;
    }
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
