//! Idempotency keys: a publish that is tried again is answered as the first time, not published again.

use std::{
    collections::VecDeque,
    hash::BuildHasher as _,
    time::{Duration, Instant},
};

use foldhash::quality::RandomState;
use hashbrown::{HashMap, hash_map::Entry};
use parking_lot::Mutex;

use crate::{event::EventId, topic::TopicId};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// Keys that were used lately.
pub struct Keys {
    state: Mutex<State>,
    hasher: RandomState,
}

#[derive(Default)]
struct State {
    known: HashMap<(TopicId, Box<str>), Known>,
    /// The same keys in the order in which they came, to forget them in.
    order: VecDeque<(Instant, TopicId, Box<str>)>,
    forgotten_early: u64,
}

struct Known {
    since: Instant,
    fingerprint: u64,
    id: Option<EventId>,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: make a [`Claim`] and publish.
    New,
    /// It was used for this event.
    Before(EventId),
    /// It is being used at this moment.
    InFlight,
    /// It was used for something else.
    Conflict,
}

/// A new key while its event is being published. Dropped before that is done, it gives the key back.
pub struct Claim<'a> {
    keys: &'a Keys,
    topic: TopicId,
    key: &'a str,
    id: Option<EventId>,
}

// === impl Keys ===

impl Keys {
    /// No key has been used.
    pub fn new() -> Self {
        Self { state: Mutex::default(), hasher: RandomState::default() }
    }

    /// Claims a key for a publish of `content`.
    pub fn claim(
        &self,
        topic: TopicId,
        key: &str,
        content: &[u8],
        max: usize,
        ttl: Duration,
        now: Instant,
    ) -> Seen {
        let fingerprint = self.hasher.hash_one(content);
        let mut state = self.state.lock();
        state.forget(max, ttl, now);
        match state.known.entry((topic, key.into())) {
            Entry::Occupied(known) => match known.get() {
                known if known.fingerprint != fingerprint => Seen::Conflict,
                Known { id: Some(id), .. } => Seen::Before(*id),
                Known { id: None, .. } => Seen::InFlight,
            },
            Entry::Vacant(vacant) => {
                vacant.insert(Known { since: now, fingerprint, id: None });
                state.order.push_back((now, topic, key.into()));
                Seen::New
            }
        }
    }

    /// The publish for a claimed key has been accepted.
    fn done(&self, topic: TopicId, key: &str, id: EventId) {
        if let Some(known) = self.state.lock().known.get_mut(&(topic, Box::from(key))) {
            known.id = Some(id);
        }
    }

    /// The publish for a claimed key has failed, so the key may be used again.
    fn failed(&self, topic: TopicId, key: &str) {
        self.state.lock().known.remove(&(topic, Box::from(key)));
    }

    /// Forgets all keys, because memory is short.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.forgotten_early += state.order.len() as u64;
        state.known = HashMap::default();
        state.order = VecDeque::default();
    }

    /// Keys that are remembered, and how many were forgotten before their time because there were too many.
    pub fn counts(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.known.len(), state.forgotten_early)
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Claim ===

impl<'a> Claim<'a> {
    /// For a key that was [`Seen::New`].
    pub fn new(keys: &'a Keys, topic: TopicId, key: &'a str) -> Self {
        Self { keys, topic, key, id: None }
    }

    /// The event has been accepted.
    pub fn done(mut self, id: EventId) {
        self.id = Some(id);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        match self.id {
            Some(id) => self.keys.done(self.topic, self.key, id),
            None => self.keys.failed(self.topic, self.key),
        }
    }
}

// === impl State ===

impl State {
    fn forget(&mut self, max: usize, ttl: Duration, now: Instant) {
        while let Some((since, ..)) = self.order.front() {
            let expired = now.saturating_duration_since(*since) >= ttl;
            if !expired && self.order.len() < max.max(1) {
                break;
            }
            self.forgotten_early += u64::from(!expired);
            if let Some((since, topic, key)) = self.order.pop_front()
                && let Entry::Occupied(known) = self.known.entry((topic, key))
                // A key that was given back may have been claimed again, and is in the queue once more.
                && known.get().since == since
            {
                known.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Origin, topic::TopicName};

    const TTL: Duration = Duration::from_mins(1);

    fn id(counter: u32) -> EventId {
        EventId { ms: 1, counter, origin: Origin(0) }
    }

    #[test]
    fn a_key_is_remembered_for_its_time_and_topic() {
        let (keys, now) = (Keys::new(), Instant::now());
        let (a, b) = ["a", "b"].map(|name| TopicId::of(&TopicName::new(name).unwrap())).into();
        let claim = |topic, content: &[u8], at| keys.claim(topic, "k", content, 10, TTL, at);
        assert_eq!(claim(a, b"x", now), Seen::New);
        assert_eq!(claim(a, b"x", now), Seen::InFlight);
        assert_eq!(claim(b, b"x", now), Seen::New);
        drop(Claim::new(&keys, b, "k"));
        assert_eq!(claim(b, b"y", now + TTL / 2), Seen::New);
        Claim::new(&keys, a, "k").done(id(1));
        assert_eq!(claim(a, b"x", now + TTL / 2), Seen::Before(id(1)));
        assert_eq!(claim(a, b"y", now + TTL / 2), Seen::Conflict);
        assert_eq!(claim(a, b"y", now + TTL), Seen::New);
        // Its time began when it was claimed for the second time.
        assert_eq!(claim(b, b"y", now + TTL), Seen::InFlight);
    }

    #[test]
    fn there_are_never_more_keys_than_allowed() {
        let (keys, now) = (Keys::new(), Instant::now());
        let topic = TopicId::of(&TopicName::new("a").unwrap());
        for n in 0..100 {
            assert_eq!(keys.claim(topic, &n.to_string(), b"x", 10, TTL, now), Seen::New);
            assert!(keys.counts().0 <= 10);
        }
        assert_eq!(keys.counts(), (10, 90));
        assert_eq!(keys.claim(topic, "99", b"x", 10, TTL, now), Seen::InFlight);
    }
}
