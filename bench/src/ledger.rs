//! The books: for every subscriber the next sequence number it is owed, so that delivered is reconciled with
//! published exactly, subscriber by subscriber.

use serde::{Deserialize, Serialize};

/// So many discrepancies are described in words; the rest is only counted.
const NOTES: usize = 6;

/// What one client process's subscribers were owed and got.
#[derive(Default)]
pub(crate) struct Ledger {
    publishers: usize,
    next: Vec<u32>,
    delivered: u64,
    verdict: Verdict,
}

/// What is wrong with the deliveries; all zero means that nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Events that never came.
    pub(crate) lost: u64,
    /// Events that came again, or after a later one.
    pub(crate) repeated: u64,
    /// Events that nobody published.
    pub(crate) unknown: u64,
    /// The first few discrepancies in words.
    pub(crate) notes: Vec<String>,
}

// === impl Ledger ===

impl Ledger {
    /// Books for events of `publishers` publishers, without subscribers.
    pub(crate) fn new(publishers: usize) -> Self {
        Self { publishers, ..Self::default() }
    }

    /// Opens an account for one more subscriber, whose first event of each publisher is number `first`.
    pub(crate) fn open(&mut self, first: u32) {
        self.next.extend(std::iter::repeat_n(first, self.publishers));
    }

    /// Books one delivery to the subscriber opened as number `subscriber`.
    pub(crate) fn record(&mut self, subscriber: usize, publisher: u8, sequence: u32) {
        let publisher = usize::from(publisher);
        if publisher >= self.publishers {
            self.verdict.unknown += 1;
            self.verdict
                .note(|| format!("subscriber {subscriber} got an event of unknown publisher {publisher}"));
            return;
        }
        self.delivered += 1;
        let next = &mut self.next[subscriber * self.publishers + publisher];
        if sequence == *next {
            *next += 1;
        } else {
            let owed = *next;
            *next = owed.max(sequence.saturating_add(1));
            self.book_jump(subscriber, publisher, owed, sequence);
        }
    }

    fn book_jump(&mut self, subscriber: usize, publisher: usize, owed: u32, got: u32) {
        if got > owed {
            self.verdict.lost += u64::from(got - owed);
        } else {
            self.verdict.repeated += 1;
        }
        self.verdict
            .note(|| format!("subscriber {subscriber}, publisher {publisher}: owed {owed}, got {got}"));
    }

    /// Everything delivered so far, to all subscribers together.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Compares every account with `sent(subscriber, publisher)`, the number of events each should have been
    /// sent since event zero. A subscriber for which that is `None` is not judged.
    pub(crate) fn settle(&self, sent: impl Fn(usize, usize) -> Option<u32>) -> Verdict {
        let mut verdict = self.verdict.clone();
        for (at, &next) in self.next.iter().enumerate() {
            let (subscriber, publisher) = (at / self.publishers, at % self.publishers);
            let Some(owed) = sent(subscriber, publisher) else { continue };
            if next < owed {
                verdict.lost += u64::from(owed - next);
                verdict.note(|| {
                    format!("subscriber {subscriber}, publisher {publisher}: got {next} of {owed} events")
                });
            } else if next > owed {
                verdict.unknown += u64::from(next - owed);
                verdict.note(|| {
                    format!("subscriber {subscriber}, publisher {publisher}: got {next}, sent {owed}")
                });
            }
        }
        verdict
    }
}

// === impl Verdict ===

impl Verdict {
    /// Whether everything that was published arrived exactly once and in order.
    pub(crate) fn is_exact(&self) -> bool {
        self.lost == 0 && self.repeated == 0 && self.unknown == 0
    }

    /// Adds what another client process found.
    pub(crate) fn merge(&mut self, other: Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.unknown += other.unknown;
        self.notes.extend(other.notes);
        self.notes.truncate(NOTES);
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.notes.len() < NOTES {
            self.notes.push(text());
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} lost, {} repeated, {} unknown", self.lost, self.repeated, self.unknown)?;
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(subscribers: usize, publishers: usize) -> Ledger {
        let mut ledger = Ledger::new(publishers);
        (0..subscribers).for_each(|_| ledger.open(0));
        ledger
    }

    #[test]
    fn exact_delivery_is_exact() {
        let mut ledger = books(2, 2);
        for sequence in 0..5 {
            for subscriber in 0..2 {
                ledger.record(subscriber, 0, sequence);
                ledger.record(subscriber, 1, sequence);
            }
        }
        assert!(ledger.settle(|_, _| Some(5)).is_exact());
        assert_eq!(ledger.delivered(), 20);
    }

    #[test]
    fn a_hole_is_lost_once() {
        let mut ledger = books(1, 1);
        for s in [0, 1, 4] {
            ledger.record(0, 0, s);
        }
        let verdict = ledger.settle(|_, _| Some(5));
        assert_eq!((verdict.lost, verdict.repeated, verdict.unknown), (2, 0, 0));
        assert!(verdict.notes[0].contains("owed 2, got 4"), "{verdict}");
    }

    #[test]
    fn a_missing_end_is_lost() {
        let mut ledger = books(2, 1);
        for s in 0..3 {
            ledger.record(0, 0, s);
        }
        ledger.record(1, 0, 0);
        assert_eq!(ledger.settle(|_, _| Some(3)).lost, 2);
    }

    #[test]
    fn a_repetition_is_counted_and_does_not_hide_a_loss() {
        let mut ledger = books(1, 1);
        for s in [0, 1, 1] {
            ledger.record(0, 0, s);
        }
        let verdict = ledger.settle(|_, _| Some(3));
        assert_eq!((verdict.lost, verdict.repeated), (1, 1));
    }

    #[test]
    fn events_beyond_what_was_published_are_unknown() {
        let mut ledger = books(1, 1);
        for s in [0, 1] {
            ledger.record(0, 0, s);
        }
        ledger.record(0, 9, 0);
        assert_eq!(ledger.settle(|_, _| Some(1)).unknown, 2);
    }

    #[test]
    fn a_late_subscriber_is_owed_from_where_it_came_in() {
        let mut ledger = Ledger::new(1);
        ledger.open(10);
        ledger.record(0, 0, 10);
        assert!(ledger.settle(|_, _| Some(11)).is_exact());
        assert!(ledger.settle(|_, _| None).is_exact());
    }
}
