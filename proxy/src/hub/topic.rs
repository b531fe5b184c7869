//! One topic: its log, and which shards have subscribers of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering},
};

use opentelemetry::trace::SpanContext;
use parking_lot::Mutex;

use super::{Retention, Traced};
use crate::{
    event::{Clock, EventId},
    log::{Bounds, Feed, Filled, Kept, Position, TopicLog, View},
    topic::{TopicId, TopicName},
};

/// By how much [`Topic::announced`], and with it the floor of a log, may be later than it was, in milliseconds.
pub(super) const ANNOUNCED_MS_MAX: u64 = 2_000;

/// What was published longer ago than this is not on its way any more, in milliseconds.
pub(super) const ON_ITS_WAY_MS: u64 = 10_000;

/// A topic that is published to or subscribed.
pub struct Topic {
    name: TopicName,
    id: TopicId,
    /// Shards with subscribers, one bit each.
    interest: AtomicU64,
    /// Shards that have been told of new events and have not looked yet.
    dirty: AtomicU64,
    /// How many shards have a subscriber that publishers are to wait for.
    congested: AtomicU16,
    /// Somebody has begun to read since others were told to forward events here.
    entered: AtomicBool,
    /// Since when other instances forward events of the topic here, in seconds since the Unix epoch; 0 if they
    /// need not.
    announced: AtomicU32,
    subscribers: AtomicU32,
    laggards: AtomicU32,
    /// Made with the first event, since most topics of a large site are only listened to.
    log: Mutex<Option<Box<TopicLog>>>,
}

/// The id of an event that is appended.
#[derive(Clone, Copy)]
pub(super) enum Stamp {
    /// The next one of this instance.
    Next,
    /// One that another instance gave.
    Given(EventId),
}

/// An event that is to be appended.
pub(super) struct Arriving<'a> {
    pub(super) stamp: Stamp,
    /// Its block without the id line.
    pub(super) after_id: &'a [u8],
    pub(super) traced: Option<(&'a Traced, SpanContext)>,
}

/// What an accepted event did.
pub(super) struct Appended {
    pub(super) id: EventId,
    /// It was not here before.
    pub(super) is_new: bool,
    pub(super) base: u64,
    pub(super) allocated: u64,
    pub(super) freed: u64,
}

// === impl Topic ===

impl Topic {
    pub(super) fn new(name: TopicName, id: TopicId) -> Self {
        Self {
            name,
            id,
            interest: AtomicU64::new(0),
            dirty: AtomicU64::new(0),
            congested: AtomicU16::new(0),
            entered: AtomicBool::new(false),
            announced: AtomicU32::new(0),
            subscribers: AtomicU32::new(0),
            laggards: AtomicU32::new(0),
            log: Mutex::new(None),
        }
    }

    /// Its name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// Its id.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// How many subscribers it has on this instance.
    pub fn subscribers(&self) -> u32 {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// Runs `read` on the log if there has been an event.
    pub fn read<T>(&self, read: impl FnOnce(&TopicLog) -> T) -> Option<T> {
        self.log.lock().as_deref().map(read)
    }

    /// Finds the place in the log at which a reader begins, if there has been an event.
    pub(super) fn enter<T>(&self, find: impl FnOnce(&TopicLog) -> (Position, T)) -> Option<(Position, T)> {
        let mut log = self.log.lock();
        self.entered.store(true, Ordering::SeqCst);
        let log = log.as_deref_mut()?;
        let found = find(log);
        log.entered(found.0);
        Some(found)
    }

    /// The end of the log.
    pub fn head(&self) -> Position {
        self.read(TopicLog::head).unwrap_or_default()
    }

    /// Called by a shard before it looks: what it is about to see, it need not be told of again.
    pub fn clear_dirty(&self, shard: usize) {
        self.dirty.fetch_and(!bit(shard), Ordering::SeqCst);
    }

    /// What is new since `from`, for a shard that will look here each time it is told to.
    pub fn take(&self, shard: usize, from: Position) -> Option<View> {
        self.log.lock().as_deref_mut().map(|log| log.take(shard, from))
    }

    /// The log from `from` on.
    pub fn view(&self, from: Position) -> Option<View> {
        self.read(|log| log.view(from))
    }

    /// A shard has got its first subscriber. Every event from now on wakes it.
    pub fn join(&self, shard: usize) {
        self.interest.fetch_or(bit(shard), Ordering::SeqCst);
    }

    /// A shard has lost its last subscriber.
    pub fn leave(&self, shard: usize) {
        self.interest.fetch_and(!bit(shard), Ordering::SeqCst);
        if let Some(log) = self.log.lock().as_deref_mut() {
            log.leave(shard);
        }
    }

    /// Counts subscribers in or out.
    pub fn count_subscriber(&self, joined: bool) {
        let delta = if joined { 1 } else { u32::MAX };
        self.subscribers.fetch_add(delta, Ordering::Relaxed);
    }

    /// Counts subscribers that are behind in or out; while there are any, the log keeps a full queue.
    pub fn count_laggard(&self, behind: bool) {
        let delta = if behind { 1 } else { u32::MAX };
        self.laggards.fetch_add(delta, Ordering::Relaxed);
    }

    /// Makes publishers wait for one shard more or less.
    pub fn count_congested(&self, congested: bool) {
        let delta = if congested { 1 } else { u16::MAX };
        self.congested.fetch_add(delta, Ordering::SeqCst);
    }

    /// Since when other instances forward events of the topic here, in milliseconds since the Unix epoch, a second
    /// on the safe side.
    pub fn announced(&self) -> Option<u64> {
        let seconds = self.announced.load(Ordering::SeqCst);
        (seconds > 0).then(|| (u64::from(seconds) + 1) * 1000)
    }

    /// Notes that others forward events here from now on. `false` if they did already. What the log has from before may
    /// have holes, unless this instance keeps the topic.
    pub(super) fn announce(&self, now_ms: u64, kept: Option<u64>, horizon: EventId) -> bool {
        let mut log = self.log.lock();
        let seconds = u32::try_from(now_ms / 1000).unwrap_or(u32::MAX).max(1);
        let new = self.announced.compare_exchange(0, seconds, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if new {
            self.entered.store(false, Ordering::SeqCst);
        }
        if let (true, Some(log)) = (new, log.as_deref_mut()) {
            let floor = kept.map_or(horizon, |since| log.floor(Feed::Kept(since)));
            log.interrupted(floor);
        }
        new
    }

    /// The id above which everything is here, or was dropped. `kept` says since when this instance keeps the topic, and
    /// `horizon` is above all ids that there are.
    pub(super) fn floor(&self, kept: Option<u64>, horizon: EventId) -> EventId {
        let log = self.log.lock();
        match (self.announced(), kept, log.as_deref()) {
            (Some(_), _, Some(log)) => log.floor(Feed::Wanted),
            (None, Some(since), Some(log)) => log.floor(Feed::Kept(since)),
            (None, None, _) => horizon,
            (announced, kept, None) => Self::fed_from(announced, kept).unwrap_or(horizon),
        }
    }

    /// Whether what passed by can be filled in.
    pub fn can_fill(&self) -> bool {
        self.read(TopicLog::can_fill).unwrap_or(true)
    }

    /// Puts before everything that somebody reads what others kept: from now on everything above `floor` is here.
    pub(super) fn fill(&self, events: Vec<Kept>, floor: EventId, kept: Option<u64>, now_ms: u64) -> Filled {
        let mut log = self.log.lock();
        let interest = self.interest.load(Ordering::SeqCst);
        let log = log.get_or_insert_with(|| self.new_log(interest, kept));
        let feed = match (self.announced(), kept) {
            (None, Some(since)) => Feed::Kept(since),
            _ => Feed::Wanted,
        };
        let is_read = self.announced().is_some() && self.entered.load(Ordering::SeqCst);
        if !is_read {
            // All of it can be put in order, and what came meanwhile be told apart from what was filled in.
            log.interrupted(log.floor(feed));
        }
        let news = is_read.then(|| {
            // The floor of a log that began with its first subscriber is on the safe side; what is recent may be on its way.
            let recent = EventId::at(now_ms.saturating_sub(ON_ITS_WAY_MS));
            let early = EventId::at(log.floor(feed).ms.saturating_sub(ANNOUNCED_MS_MAX));
            early.max(recent).min(log.floor(feed)).max(log.dropped().unwrap_or_default())
        });
        log.fill(events, floor, feed, news)
    }

    /// Whether a first subscriber is about to look: others have been told to forward events here, and may not all do so yet.
    pub(super) fn is_awaited(&self) -> bool {
        self.announced().is_some() && !self.entered.load(Ordering::SeqCst)
    }

    /// Notes that others need not forward events here any more. `false` if they did not.
    pub(super) fn withdraw(&self) -> bool {
        self.announced.swap(0, Ordering::SeqCst) > 0
    }

    /// Marks all shards with subscribers and returns those that have to be told.
    pub(super) fn mark_dirty(&self) -> u64 {
        let interested = self.interest.load(Ordering::SeqCst);
        if interested == 0 { 0 } else { interested & !self.dirty.fetch_or(interested, Ordering::SeqCst) }
    }

    /// Appends an event, unless delivery is behind. The id is taken, or observed, under the log's lock, so that
    /// the ids of one origin ascend in a log, and the clock has reached all that are in it.
    pub(super) fn append(
        &self,
        Arriving { stamp, after_id, traced }: Arriving<'_>,
        retention: &Retention,
        clock: &Clock,
        now_ms: u64,
        kept_since: impl FnOnce() -> Option<u64>,
    ) -> Option<Appended> {
        let mut log = self.log.lock();
        if self.congested.load(Ordering::SeqCst) != 0 || !log.as_deref().is_none_or(TopicLog::has_room) {
            return None;
        }
        let id = match stamp {
            Stamp::Next => clock.next(now_ms),
            Stamp::Given(id) => {
                clock.observe(&id);
                id
            }
        };
        let interest = self.interest.load(Ordering::SeqCst);
        let kept = retention.per_topic.events > 0 || interest != 0;
        if !kept && log.is_none() {
            return Some(Appended { id, is_new: true, base: 0, allocated: 0, freed: 0 });
        }
        if matches!(stamp, Stamp::Given(_)) && log.as_deref().is_some_and(|log| log.contains(&id)) {
            return Some(Appended { id, is_new: false, base: 0, allocated: 0, freed: 0 });
        }
        // A shard that looked before there was a log is to see the first event, however little is kept.
        let log = log.get_or_insert_with(|| self.new_log(interest, kept_since()));
        let Position { offset: base, seq } = log.head();
        if let Some((traced, context)) = traced {
            traced.remember(self.id, seq, interest, context);
        }
        let allocated = log.append(&id, after_id);
        let freed = log.trim(&self.bounds(retention), now_ms);
        Some(Appended { id, is_new: true, base, allocated, freed })
    }

    pub(super) fn trim(&self, retention: &Retention, now_ms: u64) -> u64 {
        let mut log = self.log.lock();
        let Some(log) = log.as_deref_mut() else { return 0 };
        log.trim(&self.bounds(retention), now_ms) + log.release_if_empty()
    }

    pub(super) fn drop_through(&self, base: u64) -> u64 {
        self.log.lock().as_deref_mut().map_or(0, |log| log.drop_through(base))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read(|log| log.oldest().is_none()).unwrap_or(true)
    }

    pub(super) fn dropped(&self) -> Option<EventId> {
        self.read(TopicLog::dropped).flatten()
    }

    fn new_log(&self, interest: u64, kept: Option<u64>) -> Box<TopicLog> {
        let mut log = TopicLog::awaited_by(interest);
        if let (Some(_), Some(floor)) = (self.announced(), Self::fed_from(self.announced(), kept)) {
            log.interrupted(floor);
        }
        Box::new(log)
    }

    /// The id from which on everything came here, if it does.
    fn fed_from(announced: Option<u64>, kept: Option<u64>) -> Option<EventId> {
        [announced, kept].into_iter().flatten().min().map(EventId::at)
    }

    fn bounds(&self, retention: &Retention) -> Bounds {
        let mut bounds = retention.per_topic;
        if self.laggards.load(Ordering::Relaxed) > 0 {
            bounds.events = bounds.events.max(retention.queue_events);
        }
        bounds
    }
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Topic({:?})", self.name)
    }
}

fn bit(shard: usize) -> u64 {
    1 << shard
}

/// The most shards that a topic can tell apart.
pub const SHARDS_MAX: usize = u64::BITS as usize;

/// A weak handle for those that must not keep a topic alive.
pub(super) type WeakTopic = std::sync::Weak<Topic>;

const _: () = assert!(size_of::<Topic>() <= 80 && size_of::<Arc<Topic>>() == 8);
