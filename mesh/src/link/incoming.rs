//! The receiving end of a link.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

/// A batch that is missing is asked for again after this time.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// What does not come within this time is given up, and reported.
const GIVE_UP: Duration = Duration::from_secs(5);

/// An acknowledgement waits this long for a batch to ride on.
const ACK_DELAY: Duration = Duration::from_millis(20);

/// The numbers of batches received, and those that came too early.
#[derive(Debug, Default)]
pub struct Incoming {
    /// The newest batch that was handed out; all before it were too, or were given up.
    handed_out: u64,
    /// The newest batch whose events have been taken.
    taken: u64,
    /// The newest number the sender is known to have sent.
    known: u64,
    early: BTreeMap<u64, Bytes>,
    missing_since: Option<Duration>,
    asked_at: Option<Duration>,
    told: u64,
    ack_since: Option<Duration>,
    given_up: u64,
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// It and others after it that had waited are ready, in order: see [`Incoming::pop`].
    Ready,
    /// It waits for one before it.
    Early,
    /// It had been received before.
    Again,
    /// It is so far ahead that it cannot wait; it will be asked for.
    TooEarly,
}

// === impl Incoming ===

impl Incoming {
    /// Takes a batch in.
    pub fn receive(&mut self, now: Duration, number: u64, frames: Bytes, window: usize) -> Received {
        self.known = self.known.max(number);
        if number <= self.handed_out || self.early.contains_key(&number) {
            // Its acknowledgement was lost, or the sender does not know that it arrived.
            self.ack_since.get_or_insert(now);
            self.told = self.told.min(self.taken.saturating_sub(1));
            return Received::Again;
        }
        let ahead = number - self.handed_out;
        if ahead > window as u64 * 2 {
            return Received::TooEarly;
        }
        self.early.insert(number, frames);
        if ahead == 1 { Received::Ready } else { Received::Early }
    }

    /// The next batch in order, if it is there.
    pub fn pop(&mut self) -> Option<(u64, Bytes)> {
        let frames = self.early.remove(&(self.handed_out + 1))?;
        self.handed_out += 1;
        Some((self.handed_out, frames))
    }

    /// The sender says that `last` is the newest batch it has sent.
    pub fn announced(&mut self, last: u64) {
        self.known = self.known.max(last);
    }

    /// Notes whether something is missing, after what was ready has been handed out. A gap that is new, or that
    /// begins at another place than before, gets its full time.
    pub fn settle(&mut self, now: Duration, progress: bool) {
        if self.handed_out >= self.known {
            self.missing_since = None;
        } else if progress || self.missing_since.is_none() {
            self.missing_since = Some(now);
            self.asked_at = None;
        }
    }

    /// The range of batches to ask the sender for, at most every `ASK_AGAIN`.
    pub fn to_ask(&mut self, now: Duration, patience: Duration) -> Option<(u64, u64)> {
        let first = self.handed_out + 1;
        let since = self.missing_since?;
        // A message on its way is not missing yet.
        let due = self.asked_at.map_or(since + patience, |at| at + ASK_AGAIN);
        if now < due {
            return None;
        }
        self.asked_at = Some(now);
        let last = self.early.first_key_value().map_or(self.known, |(early, _)| early - 1);
        Some((first, last))
    }

    /// Gives up what has been missing for too long. Returns how many batches.
    pub fn give_up(&mut self, now: Duration) -> u64 {
        let overdue = self.missing_since.is_some_and(|since| now >= since + GIVE_UP);
        if overdue { self.give_up_from(self.handed_out + 1) } else { 0 }
    }

    /// Gives up the gap that begins with batch `first`, if it still does. Returns how many batches.
    pub fn give_up_from(&mut self, first: u64) -> u64 {
        if first != self.handed_out + 1 || self.early.contains_key(&first) {
            return 0;
        }
        let next = self.early.first_key_value().map_or(self.known, |(early, _)| early - 1);
        let lost = next.saturating_sub(self.handed_out);
        self.handed_out += lost;
        self.taken = self.taken.max(self.handed_out);
        self.given_up += lost;
        lost
    }

    /// The events of all batches up to `number` have been taken.
    pub fn take(&mut self, now: Duration, number: u64) {
        if number > self.taken && number <= self.handed_out {
            self.taken = number;
            self.ack_since.get_or_insert(now);
        }
    }

    /// Makes the next acknowledgement leave at once.
    pub fn hurry(&mut self) {
        self.ack_since = self.ack_since.map(|_| Duration::ZERO);
    }

    /// What to acknowledge, noted as told.
    pub fn ack(&mut self) -> u64 {
        self.told = self.taken;
        self.ack_since = None;
        self.taken
    }

    /// When an acknowledgement has to leave by itself, if one is due: at once when `window` batches could soon
    /// be on their way, otherwise after `ACK_DELAY`.
    pub fn ack_due(&self, window: usize) -> Option<Duration> {
        let since = self.ack_since.filter(|_| self.told < self.taken)?;
        let many = self.taken - self.told >= (window as u64 / 4).max(1);
        Some(if many { Duration::ZERO } else { since + ACK_DELAY })
    }

    /// When something about a gap has to be done.
    pub fn gap_due(&self, patience: Duration) -> Option<Duration> {
        let since = self.missing_since?;
        let ask = self.asked_at.map_or(since + patience, |at| at + ASK_AGAIN);
        Some(ask.min(since + GIVE_UP))
    }

    /// Batches that wait for one before them.
    pub fn early(&self) -> usize {
        self.early.len()
    }

    /// Batches that were given up.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// The newest batch that was taken, and the newest that is known to have been sent.
    pub fn progress(&self) -> (u64, u64) {
        (self.taken, self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const WINDOW: usize = 8;

    fn numbers(incoming: &mut Incoming) -> Vec<u64> {
        std::iter::from_fn(|| incoming.pop().map(|(number, _)| number)).collect()
    }

    fn settled(incoming: &mut Incoming, now: Duration) -> Vec<u64> {
        let numbers = numbers(incoming);
        incoming.settle(now, !numbers.is_empty());
        numbers
    }

    #[test]
    fn batches_come_out_in_order_and_once() {
        let mut link = Incoming::default();
        assert_eq!(link.receive(MS, 2, Bytes::new(), WINDOW), Received::Early);
        assert_eq!(numbers(&mut link), [0_u64; 0]);
        assert_eq!(link.receive(MS, 1, Bytes::new(), WINDOW), Received::Ready);
        assert_eq!(numbers(&mut link), [1, 2]);
        assert_eq!(link.receive(MS, 2, Bytes::new(), WINDOW), Received::Again);
        assert_eq!(link.receive(MS, 40, Bytes::new(), WINDOW), Received::TooEarly);
        assert_eq!(numbers(&mut link), [0_u64; 0]);
    }

    #[test]
    fn a_gap_is_asked_for_then_given_up() {
        let mut link = Incoming::default();
        let patience = MS * 5;
        link.receive(MS, 3, Bytes::new(), WINDOW);
        settled(&mut link, MS);
        assert_eq!(link.to_ask(MS, patience), None, "it may be on its way");
        assert_eq!(link.to_ask(MS * 6, patience), Some((1, 2)));
        assert_eq!(link.to_ask(MS * 7, patience), None);
        assert_eq!(link.to_ask(MS * 400, patience), Some((1, 2)));
        assert_eq!(link.give_up(MS * 400), 0);
        assert_eq!(link.give_up(MS * 5001), 2);
        assert_eq!(settled(&mut link, MS * 5001), [3]);
        assert_eq!((link.given_up(), link.gap_due(patience)), (2, None));
    }

    #[test]
    fn a_lost_tail_is_found_by_its_number() {
        let mut link = Incoming::default();
        link.receive(MS, 1, Bytes::new(), WINDOW);
        settled(&mut link, MS);
        link.announced(1);
        assert_eq!(settled(&mut link, MS), [0_u64; 0]);
        assert_eq!(link.gap_due(MS), None);
        link.announced(4);
        settled(&mut link, MS);
        assert_eq!(link.to_ask(MS * 9, MS), Some((2, 4)));
        for number in 2..=4 {
            link.receive(MS * 9, number, Bytes::new(), WINDOW);
        }
        assert_eq!(settled(&mut link, MS * 9), [2, 3, 4]);
        assert_eq!(link.to_ask(MS * 900, MS), None);
    }

    #[test]
    fn only_what_was_taken_is_acknowledged() {
        let mut link = Incoming::default();
        for number in 1..=3 {
            link.receive(MS, number, Bytes::new(), WINDOW);
        }
        numbers(&mut link);
        assert_eq!((link.ack_due(WINDOW), link.ack()), (None, 0));
        link.take(MS, 1);
        assert_eq!(link.ack_due(WINDOW), Some(MS * 21));
        link.take(MS, 2);
        assert_eq!(link.ack_due(WINDOW), Some(Duration::ZERO), "a quarter of the window");
        assert_eq!((link.ack(), link.ack_due(WINDOW)), (2, None));
    }
}
