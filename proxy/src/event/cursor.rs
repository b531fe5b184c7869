//! What a subscriber names by `Last-Event-ID`: the event that it saw last, and which events of others it had seen before.
//!
//! The text is the event's id, and a dash and eight hex digits more where other instances had published to the topic just
//! before. Events of different instances may stand in two logs in different order, so the id of one of them does not say
//! whether its neighbours have been seen; the digest does.

use std::{
    fmt,
    ops::{BitXor, BitXorAssign},
    str::FromStr,
};

use revenprox_mesh::merkle::mix;

use super::{
    EventId,
    id::{ID_BYTES_MAX, ParseIdError, lower_hex},
};

/// The longest text form, in bytes.
pub const CURSOR_BYTES_MAX: usize = ID_BYTES_MAX + 9;

/// Multiplies the origin before it is mixed in, so that neighbouring ids of two origins have nothing in common.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Several events in one word: the exclusive or of a hash of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub u32);

/// How far a subscriber has come in a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The event that it saw last.
    pub id: EventId,
    /// The last one that it had seen of each other instance, as far back as [`Recent`](crate::log::Recent) looks.
    pub others: Digest,
}

// === impl Digest ===

impl Digest {
    /// One event.
    pub fn of(id: &EventId) -> Self {
        let spread = u64::from(id.origin.0).wrapping_mul(SPREAD);
        Self((mix(id.packed().wrapping_add(spread)) >> 32) as u32)
    }
}

impl BitXor for Digest {
    type Output = Self;

    fn bitxor(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
}

impl BitXorAssign for Digest {
    fn bitxor_assign(&mut self, other: Self) {
        self.0 ^= other.0;
    }
}

// === impl Cursor ===

impl Cursor {
    /// Parses the text form. Only what [`fmt::Display`] prints is accepted.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if let Some(id) = EventId::parse(text) {
            return Some(id.into());
        }
        let (id, others) = text.split_at_checked(text.len().checked_sub(9)?)?;
        let others = Digest(lower_hex(others.strip_prefix(b"-")?)?);
        let cursor = Self { id: EventId::parse(id)?, others };
        (others != Digest::default()).then_some(cursor)
    }
}

impl From<EventId> for Cursor {
    fn from(id: EventId) -> Self {
        Self { id, others: Digest::default() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.others {
            Digest(0) => self.id.fmt(f),
            Digest(others) => write!(f, "{}-{others:08x}", self.id),
        }
    }
}

impl FromStr for Cursor {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::parse(text.as_bytes()).ok_or(ParseIdError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Origin;

    #[test]
    fn a_digest_is_there_only_if_it_says_something() {
        let id = EventId { ms: 1_703_894_400_000, counter: 1, origin: Origin(0x5e0c_91aa) };
        assert_eq!(Cursor::from(id).to_string(), "1703894400000-001-5e0c91aa");
        let others = Digest(0xbeef);
        assert_eq!(Cursor { id, others }.to_string(), "1703894400000-001-5e0c91aa-0000beef");
        for text in [
            "1703894400000-001-5e0c91aa-00000000",
            "1703894400000-001-5e0c91aa-beef",
            "1703894400000-001-5e0c91aa-0000BEEF",
            "1703894400000-001-5e0c91aa-0000beef-",
            "---0000beef",
            "é-1-2-3",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(ParseIdError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(ms in 0_u64..1 << 44, counter in 0_u32..1 << 20, origin: u32, others: u32) {
            let cursor = Cursor { id: EventId { ms, counter, origin: Origin(origin) }, others: Digest(others) };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            prop_assert!(cursor.to_string().len() <= CURSOR_BYTES_MAX);
        }

        #[test]
        fn bytes_that_are_none_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(cursor) = Cursor::parse(&bytes) {
                prop_assert_eq!(cursor.to_string().into_bytes(), bytes);
            }
        }
    }
}
