//! The other instances of a cluster, as the hub sees them: what it tells them, and what they bring.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::trace::SpanContext;

use super::{Hub, Topic, now_ms, topic::Stamp};
use crate::{event::EventId, topic::TopicId};

/// An id that is further ahead of the clock here is refused: following it would take all ids of this instance,
/// and soon of all, into the future.
const AHEAD_MAX: Duration = Duration::from_mins(10);

/// A topic that was announced longer ago than this has long been known to others.
const SETTLED_MS: u64 = 5_000;

/// What the hub tells the others.
pub trait Others: Send + Sync {
    /// An event was accepted here.
    fn publish(&self, topic: &Topic, id: EventId, after_id: &[u8], trace: Option<&SpanContext>);

    /// Events of the topic are wanted here from now on.
    fn subscribe(&self, topic: TopicId);

    /// They are no longer.
    fn unsubscribe(&self, topic: TopicId);

    /// By how much ids of others may be ahead of the clock here, in milliseconds.
    fn ahead_ms(&self) -> u64;

    /// Since when this instance has kept the topic's history without a break, in milliseconds since the Unix epoch, if it
    /// does: all events come here since then, whether or not they are wanted.
    fn kept_since(&self, topic: TopicId) -> Option<u64>;

    /// The same, or, if others have taken its place lately, since when it had kept it until then.
    fn was_kept_since(&self, topic: TopicId) -> Option<u64>;
}

/// An event that another instance accepted.
#[derive(Clone, Debug)]
pub struct Remote<'a> {
    /// Its topic.
    pub topic: TopicId,
    /// The topic's name, if this instance is to keep the event.
    pub name: Option<&'a [u8]>,
    /// Its id.
    pub id: EventId,
    /// Its block without the id line.
    pub after_id: &'a [u8],
    /// Its span, if it is traced.
    pub trace: Option<SpanContext>,
}

/// What became of a remote event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in the topic's log.
    Appended,
    /// It has been there before.
    Again,
    /// Nobody here wants it.
    Unwanted,
    /// Delivery of the topic is behind; it has to be brought again when there is room.
    Behind,
    /// Its id is too far in the future, or its topic's name is not that of the topic.
    Refused,
}

/// What others have brought so far.
#[derive(Debug, Default)]
pub struct RemoteCounts {
    appended: AtomicU64,
    unwanted: AtomicU64,
    refused: AtomicU64,
}

// === impl Hub ===

impl Hub {
    /// Connects the hub with other instances. Only the first call counts.
    pub fn join(&self, others: Arc<dyn Others>) {
        let _ = self.others.set(others);
    }

    /// Tells the others that events of the topic are wanted here, before a subscriber looks at its log. Returns
    /// whether some of them may not know yet.
    pub fn announce(&self, topic: &Topic) -> bool {
        let Some(others) = self.others.get() else { return false };
        let now = now_ms() + others.ahead_ms();
        if topic.announce(now, others.kept_since(topic.id()), self.horizon()) {
            others.subscribe(topic.id());
            return true;
        }
        topic.announced().is_some_and(|since| now < since + SETTLED_MS)
    }

    /// Takes an event that another instance accepted.
    pub fn take_remote(&self, event: &Remote<'_>) -> Taken {
        let ahead = u64::try_from(AHEAD_MAX.as_millis()).unwrap_or(u64::MAX);
        if event.id.ms > now_ms().saturating_add(ahead) {
            self.remote.refused.fetch_add(1, Ordering::Relaxed);
            return Taken::Refused;
        }
        let topic = match self.wanted(event) {
            Ok(topic) => topic,
            Err(taken) => return taken,
        };
        let stamp = Stamp::Given(event.id);
        match self.append(&topic, event.after_id, stamp, &self.retention.get(), event.trace.clone()) {
            Some(appended) if appended.is_new => {
                self.remote.appended.fetch_add(1, Ordering::Relaxed);
                Taken::Appended
            }
            Some(_) => Taken::Again,
            None => Taken::Behind,
        }
    }

    /// The topic of an event that is wanted here, or to be kept.
    fn wanted(&self, event: &Remote<'_>) -> Result<Arc<Topic>, Taken> {
        match (self.find(event.topic), event.name) {
            (Some(topic), Some(_)) => Ok(topic),
            (Some(topic), None) if topic.announced().is_some() => Ok(topic),
            (_, None) => {
                self.remote.unwanted.fetch_add(1, Ordering::Relaxed);
                Err(Taken::Unwanted)
            }
            (None, Some(name)) => self.topic_named(event.topic, name).ok_or_else(|| {
                self.remote.refused.fetch_add(1, Ordering::Relaxed);
                Taken::Refused
            }),
        }
    }

    /// What others have brought.
    pub fn remote(&self) -> &RemoteCounts {
        &self.remote
    }

    pub(super) fn withdraw(&self, topic: TopicId) {
        if let Some(others) = self.others.get() {
            others.unsubscribe(topic);
        }
    }
}

// === impl RemoteCounts ===

impl RemoteCounts {
    /// Events appended to logs here.
    pub fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    /// Events that nobody here wanted: the cost of filters that say maybe.
    pub fn unwanted(&self) -> u64 {
        self.unwanted.load(Ordering::Relaxed)
    }

    /// Events whose ids were too far in the future.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
