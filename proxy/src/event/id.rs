//! Event ids from a hybrid logical clock.
//!
//! An id is `<unix-ms>-<counter>-<origin>`, for example `1703894400000-001-5e0c91aa`. The first two parts come
//! from the clock of the instance that accepted the event and never go back, whatever the system clock does;
//! the third tells instances (and incarnations of one instance) apart, so that ids are unique in a cluster.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

/// How many low bits of the packed clock count events within one millisecond.
const COUNTER_BITS: u32 = 20;

/// The longest text form: 15 digits, 7 digits, 8 hex digits and two dashes.
pub const ID_BYTES_MAX: usize = 32;

/// The incarnation of an instance that accepts events: random at each start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub u32);

/// A unique, ordered event id. The default is below all that are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Milliseconds since the Unix epoch by the hybrid clock.
    pub ms: u64,
    /// Events before this one within the same millisecond.
    pub counter: u32,
    /// Who accepted the event.
    pub origin: Origin,
}

/// The text is not an id that this system gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id looks like 1703894400000-001-5e0c91aa")]
pub struct ParseIdError;

/// The hybrid logical clock of one instance (Kulkarni et al., "Logical Physical Clocks", 2014, for one node).
///
/// Milliseconds and counter share one word, so that an overflowing counter carries into the milliseconds and
/// the order of ids is the order of plain integers.
#[derive(Debug)]
pub struct Clock {
    last: AtomicU64,
    origin: Origin,
}

// === impl Clock ===

impl Clock {
    /// A clock for one incarnation.
    pub fn new(origin: Origin) -> Self {
        Self { last: AtomicU64::new(0), origin }
    }

    /// The next id: greater than every id given before, and not behind `now_ms`.
    pub fn next(&self, now_ms: u64) -> EventId {
        let now = now_ms << COUNTER_BITS;
        let step = |last: u64| now.max(last + 1);
        let last =
            self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(step(last))).unwrap_or(0);
        self.unpack(step(last))
    }

    /// Makes every later id greater than one that another instance gave.
    pub fn observe(&self, id: &EventId) {
        self.last.fetch_max(id.packed(), Ordering::SeqCst);
    }

    /// An id that every id given so far is at most equal to, and every later one greater than.
    pub fn reached(&self) -> EventId {
        self.unpack(self.last.load(Ordering::SeqCst))
    }

    /// An id that every id given or observed so far is at most equal to, whoever gave it.
    pub fn ceiling(&self) -> EventId {
        EventId { origin: Origin(u32::MAX), ..self.reached() }
    }

    /// Which incarnation this clock stamps ids with.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    fn unpack(&self, packed: u64) -> EventId {
        EventId::from_packed(packed, self.origin)
    }
}

// === impl Origin ===

impl Origin {
    /// A random incarnation.
    pub fn random() -> Self {
        Self(getrandom::u32().expect("the operating system has a source of randomness"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

// === impl EventId ===

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:03}-{}", self.ms, self.counter, self.origin)
    }
}

impl FromStr for EventId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::parse(text.as_bytes()).ok_or(ParseIdError)
    }
}

impl EventId {
    /// Milliseconds and counter as one number, which sorts as they do.
    pub fn packed(&self) -> u64 {
        self.ms << COUNTER_BITS | u64::from(self.counter)
    }

    /// The id that [`packed`](Self::packed) came from.
    pub fn from_packed(packed: u64, origin: Origin) -> Self {
        let counter = u32::try_from(packed & ((1 << COUNTER_BITS) - 1)).expect("the counter has 20 bits");
        Self { ms: packed >> COUNTER_BITS, counter, origin }
    }

    /// An id below which are all that are given before `ms`, and no others.
    pub fn at(ms: u64) -> Self {
        Self { ms, ..Self::default() }
    }

    /// The greatest id below this one that the same clock could have given.
    #[must_use]
    pub fn predecessor(self) -> Self {
        let counter_max = (1 << COUNTER_BITS) - 1;
        match self.counter {
            0 => Self { ms: self.ms.saturating_sub(1), counter: counter_max, ..self },
            counter => Self { counter: counter - 1, ..self },
        }
    }

    /// Parses the text form. Only what [`fmt::Display`] prints is accepted, so ids compare as texts do.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > ID_BYTES_MAX {
            return None;
        }
        let mut parts = text.split(|b| *b == b'-');
        let (ms, counter, origin) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || counter.len() < 3 || origin.len() != 8 {
            return None;
        }
        let id = Self {
            ms: decimal(ms)?,
            counter: u32::try_from(decimal(counter)?).ok()?,
            origin: Origin(lower_hex(origin)?),
        };
        let canonical = (ms.len() == 1 || ms[0] != b'0') && (counter.len() == 3 || counter[0] != b'0');
        (canonical && id.ms < 1 << (64 - COUNTER_BITS) && id.counter < 1 << COUNTER_BITS).then_some(id)
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
}

/// Eight or fewer lower-case hex digits.
pub(super) fn lower_hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |n, d| match d {
        b'0'..=b'9' => Some(n << 4 | u32::from(d - b'0')),
        b'a'..=b'f' => Some(n << 4 | u32::from(d - b'a' + 10)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_never_go_back_when_the_clock_does() {
        let clock = Clock::new(Origin(1));
        let times = [1_000, 1_000, 999, 5, 1_001, 1_001, 0];
        let ids: Vec<_> = times.iter().map(|ms| clock.next(*ms)).collect();
        assert!(ids.windows(2).all(|w| w[0] < w[1]), "{ids:?}");
        assert_eq!(ids[4].ms, 1_001);
        assert_eq!(clock.reached(), ids[6]);
    }

    #[test]
    fn ids_are_above_what_was_observed() {
        let clock = Clock::new(Origin(1));
        let theirs = EventId { ms: 5_000, counter: 7, origin: Origin(2) };
        clock.observe(&theirs);
        assert!(clock.ceiling() >= theirs);
        assert!(clock.next(1_000) > theirs);
        assert_eq!(EventId::from_packed(theirs.packed(), theirs.origin), theirs);
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let clock = Clock::new(Origin(1));
        clock.last.store((7 << COUNTER_BITS) | ((1 << COUNTER_BITS) - 1), Ordering::SeqCst);
        let id = clock.next(7);
        assert_eq!((id.ms, id.counter), (8, 0));
    }

    #[test]
    fn a_predecessor_is_just_below() {
        let id = |ms, counter| EventId { ms, counter, origin: Origin(1) };
        assert_eq!(id(5, 3).predecessor(), id(5, 2));
        assert_eq!(id(5, 0).predecessor(), id(4, (1 << COUNTER_BITS) - 1));
        assert!(id(5, 0).predecessor() < id(5, 0));
    }

    #[test]
    fn foreign_texts_are_not_ids() {
        for text in [
            "",
            "1",
            "1-001",
            "1-001-0000000",
            "1-001-0000000A",
            "1-01-00000000",
            "01-001-00000000",
            "1-0001-00000000",
            "1-001-00000000-x",
            "-1-001-00000000",
            "1-001-00000000\n",
            "99999999999999999999-001-00000000",
            "1-1048576-00000000",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(ParseIdError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(ms in 0_u64..1 << 44, counter in 0_u32..1 << 20, origin: u32) {
            let id = EventId { ms, counter, origin: Origin(origin) };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert!(id.to_string().len() <= ID_BYTES_MAX);
        }
    }
}
