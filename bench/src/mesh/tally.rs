//! Events with the time at which they were sent, and what became of them.

use serde::{Deserialize, Serialize};

use crate::clock::now_micros;
use crate::stats::Histogram;

/// Bytes of an event.
pub(super) const EVENT_BYTES: usize = 100;

/// An event.
#[derive(Clone, Copy)]
pub(super) struct Stamped(pub(super) [u8; EVENT_BYTES]);

/// Events as they lie in a message one after the other.
pub(super) fn each(message: &[u8]) -> impl Iterator<Item = &[u8; EVENT_BYTES]> {
    message.as_chunks().0.iter()
}

/// What the receiver saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Events.
    pub(super) received: u64,
    /// Events that did not have the number after the one before.
    pub(super) disorder: u64,
    times: Histogram,
    first_sent: u64,
    last_received: u64,
}

// === impl Stamped ===

impl Stamped {
    /// The event of this number, sent now.
    pub(super) fn now(number: u64, is_last: bool) -> Self {
        let mut bytes = [b'x'; EVENT_BYTES];
        bytes[..8].copy_from_slice(&now_micros().to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        bytes[16] = is_last.into();
        Self(bytes)
    }
}

// === impl Outcome ===

impl Outcome {
    /// Takes the events of a message, which have all arrived now. Returns whether the last is among them.
    pub(super) fn take<'a>(&mut self, events: impl Iterator<Item = &'a [u8; EVENT_BYTES]>) -> bool {
        let now = now_micros();
        let mut is_last = false;
        for event in events {
            let number_at =
                |at: usize| event[at..].first_chunk().map_or(0, |bytes: &[u8; 8]| u64::from_le_bytes(*bytes));
            let sent = number_at(0);
            if self.received == 0 {
                self.first_sent = sent;
            }
            self.received += 1;
            self.disorder += u64::from(number_at(8) != self.received);
            self.times.record(now.saturating_sub(sent));
            is_last |= event[16] == 1;
        }
        self.last_received = now;
        is_last
    }

    /// The time below which so many per cent of the hops lie, in microseconds.
    pub(super) fn percentile_us(&self, percent: f64) -> f64 {
        self.times.percentile_ms(percent) * 1000.0
    }

    /// Events a second, from the first that was sent to the last that was received.
    pub(super) fn per_second(&self) -> f64 {
        let micros = self.last_received.saturating_sub(self.first_sent).max(1);
        self.received as f64 * 1e6 / micros as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_out_of_order_is_seen() {
        let mut outcome = Outcome::default();
        let message = [Stamped::now(1, false).0, Stamped::now(2, false).0].concat();
        assert!(!outcome.take(each(&message)));
        assert_eq!((outcome.received, outcome.disorder), (2, 0));
        assert!(outcome.take(each(&Stamped::now(4, true).0)));
        assert_eq!((outcome.received, outcome.disorder), (3, 1));
        assert!(outcome.per_second() > 0.0);
    }
}
