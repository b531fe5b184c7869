//! Keeping topics' history for all instances, and getting back what others have kept.

use std::sync::Arc;

use super::{Hub, Remote, Since, Start, Taken, Topic, now_ms, topic::ANNOUNCED_MS_MAX};
use crate::{
    event::{Cursor, EventId},
    log::{Filled, Kept},
    topic::{TopicId, TopicName},
};

/// What one instance has of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Everything above this id is among the events, or was dropped because it was old or too much.
    pub floor: EventId,
    /// That holds only up to the latest change of the members; what came after is with those who keep the topic since then.
    pub former: bool,
    /// In the order in which they were delivered.
    pub events: Vec<Kept>,
}

// === impl Kept ===

impl Kept {
    /// The event as if its own instance had sent it.
    fn remote<'a>(&'a self, topic: TopicId, name: Option<&'a [u8]>) -> Remote<'a> {
        Remote { topic, name, id: self.id, after_id: &self.after_id, trace: None }
    }
}

// === impl Hub ===

impl Hub {
    /// Since when this instance has kept a topic without a break.
    pub(super) fn kept_since(&self, topic: TopicId) -> Option<u64> {
        self.others.get().and_then(|others| others.kept_since(topic))
    }

    /// Above all ids that any instance has given so far. The clock here follows those that come here, and what passes by does not.
    pub(super) fn horizon(&self) -> EventId {
        let ahead_ms = self.others.get().map_or(0, |others| others.ahead_ms());
        self.clock.ceiling().max(EventId::at(now_ms() + ahead_ms + ANNOUNCED_MS_MAX))
    }

    /// The topic of this id, made if the name is its.
    pub(super) fn topic_named(&self, id: TopicId, name: &[u8]) -> Option<Arc<Topic>> {
        let name = TopicName::new(std::str::from_utf8(name).ok()?).ok()?;
        (TopicId::of(&name) == id).then(|| self.topic(&name))
    }

    /// The id above which everything published anywhere is here, or was dropped.
    pub fn floor(&self, topic: &Topic) -> EventId {
        if self.others.get().is_none() {
            return EventId::default();
        }
        topic.floor(self.kept_since(topic.id()), self.horizon())
    }

    /// Whether a subscriber would miss something that others may have kept, and that can still be put in its place.
    pub fn lacks(&self, topic: &Topic, start: &Start) -> bool {
        let from = match start {
            Start::Live | Start::Since(Since::Now) => return false,
            Start::After(text) => match text.parse::<Cursor>() {
                Ok(cursor) => cursor.id,
                Err(_) => return false,
            },
            Start::Since(Since::Earliest) => EventId::default(),
            Start::Since(Since::UnixMs(ms)) => EventId::at(*ms),
        };
        from < self.floor(topic) && topic.can_fill()
    }

    /// What is here of a topic.
    pub fn holding(&self, id: TopicId) -> Holding {
        let kept = self.kept_since(id);
        let before = self.others.get().and_then(|others| others.was_kept_since(id));
        let topic = self.find(id);
        let former =
            kept.is_none() && before.is_some() && topic.as_ref().is_none_or(|t| t.announced().is_none());
        let since = if former { before } else { kept };
        let Some(topic) = topic else {
            let floor = since.map_or(self.horizon(), EventId::at);
            return Holding { floor, former, events: Vec::new() };
        };
        let floor = topic.floor(since, self.horizon());
        let (events, dropped) = topic.read(|log| (log.kept(), log.dropped())).unwrap_or_default();
        Holding { floor: floor.max(dropped.unwrap_or_default()), former, events }
    }

    /// Puts what others have kept of a topic in its place, before a subscriber looks.
    pub fn fill(&self, topic: &Arc<Topic>, others: Holding) {
        for event in &others.events {
            self.clock.observe(&event.id);
        }
        let Filled { allocated, freed, news } =
            topic.fill(others.events, others.floor, self.kept_since(topic.id()), now_ms());
        self.budget.freed(freed);
        for (base, bytes) in allocated {
            self.budget.allocated(topic, base, bytes);
        }
        for event in &news {
            // If delivery is behind, it comes the way on which it is.
            self.take_remote(&event.remote(topic.id(), None));
        }
    }

    /// Takes what another instance hands over: what is new here is delivered, the rest is history. `false` if delivery is
    /// behind, so that it has to be brought again.
    pub fn take_over(&self, id: TopicId, name: &[u8], mut others: Holding) -> bool {
        let Some(topic) = self.topic_named(id, name) else { return true };
        let (floor, wanted) = (self.floor(&topic), topic.announced().is_some());
        let (dropped, highest) = topic.read(|log| (log.dropped(), log.highest())).unwrap_or_default();
        // Subscribers have missed what is above the floor, unless it is gone again. Where there are none, the order of ids is
        // the better one.
        let last = if wanted { Some(floor).max(dropped) } else { highest };
        let is_here = |event: &Kept| topic.read(|log| log.contains(&event.id)).unwrap_or_default();
        others.events.retain(|event| !is_here(event));
        let (news, history): (Vec<_>, Vec<_>) =
            std::mem::take(&mut others.events).into_iter().partition(|event| Some(event.id) > last);
        for event in &news {
            if self.take_remote(&event.remote(id, Some(name))) == Taken::Behind {
                return false;
            }
        }
        // A part of the history would keep the rest from being filled in later, where somebody may read it.
        // And what was taken before all others forward here lacks what passes by until they do; who arrives then fetches it anyway.
        if !topic.is_awaited() && (others.floor < floor || !(wanted || history.is_empty())) {
            self.fill(&topic, Holding { events: history, ..others });
        }
        true
    }
}
