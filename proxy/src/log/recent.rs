//! How far a log has come with the events of each instance that published to it lately.

use smallvec::SmallVec;

use crate::event::{Cursor, Digest, EventId};

/// How much older than an event another may be that its digest covers, in milliseconds. An event is seldom longer on its way
/// from one instance to another.
const REACH_MS: u64 = 8_000;

/// The newest event of each origin. Those of one origin come in the order of their ids, so this says which of them a reader has seen. It costs 16 bytes for each instance that has published to the topic lately.
#[derive(Debug, Default)]
pub struct Recent(SmallVec<[EventId; 1]>);

/// The lowest id that the digest of an event covers.
pub fn reach(id: &EventId) -> EventId {
    EventId::at(id.ms.saturating_sub(REACH_MS))
}

// === impl Recent ===

impl Recent {
    /// Notes an event that comes after all noted so far, and says how far its readers have come with it.
    pub fn note(&mut self, id: &EventId) -> Cursor {
        let reach = reach(id);
        let mut others = Digest::default();
        for last in self.0.iter().filter(|last| last.origin != id.origin && **last >= reach) {
            others ^= Digest::of(last);
        }
        if let Some(last) = self.0.iter_mut().find(|last| last.origin == id.origin) {
            // What was brought later is older than what has been seen before it.
            *last = (*last).max(*id);
        } else {
            // Whoever has been silent for long is forgotten when another comes: twice as long as matters, for the next event may
            // have a lower id.
            let forgotten = self::reach(&reach);
            self.0.retain(|last| *last >= forgotten);
            self.0.push(*id);
        }
        Cursor { id: *id, others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Origin;

    fn id(ms: u64, origin: u32) -> EventId {
        EventId { ms, counter: 0, origin: Origin(origin) }
    }

    #[test]
    fn what_one_instance_publishes_needs_no_digest() {
        let mut recent = Recent::default();
        assert!((0..100).all(|n| recent.note(&id(n * 500, 1)).others == Digest::default()));
        assert_eq!(recent.0.len(), 1);
    }

    #[test]
    fn an_event_that_is_older_than_the_one_before_reaches_as_far_back() {
        let mut recent = Recent::default();
        for event in [id(10_000, 1), id(10_000 + REACH_MS + 1, 2)] {
            recent.note(&event);
        }
        let others = others_of(&[id(10_000, 1), id(10_000 + REACH_MS + 1, 2)]);
        assert_eq!(recent.note(&id(10_000 + REACH_MS, 3)).others, others);
    }

    #[test]
    fn the_digest_is_that_of_the_newest_of_all_others_within_reach() {
        let mut recent = Recent::default();
        for event in [id(10_000, 1), id(10_001, 2), id(10_002, 1), id(10_003, 3)] {
            recent.note(&event);
        }
        let others = Digest::of(&id(10_002, 1)) ^ Digest::of(&id(10_003, 3));
        assert_eq!(recent.note(&id(12_000, 2)).others, others);
        assert_eq!(recent.note(&id(10_002 + REACH_MS, 3)).others, others_of(&[id(10_002, 1), id(12_000, 2)]));
        assert_eq!(recent.note(&id(10_003 + REACH_MS, 3)).others, Digest::of(&id(12_000, 2)));
        recent.note(&id(90_000, 4));
        assert_eq!(recent.0.len(), 1, "the others have been silent for long");
    }

    fn others_of(ids: &[EventId]) -> Digest {
        ids.iter().map(Digest::of).fold(Digest::default(), |a, b| a ^ b)
    }
}
