//! The log of one topic: segments, retention and look-ups. Pure: time and bounds are arguments.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::{
    append_buf::Writer,
    recent::Recent,
    record::{self, Record},
    segment::{Segment, Slice},
};
use crate::event::{Cursor, EventId, Origin, cursor::CURSOR_BYTES_MAX, frame};

/// The first segment of a topic is small, because most topics see few events; each further one is twice as
/// large, up to this.
pub(super) const SEGMENT_BYTES_MAX: usize = 64 * 1024;
const SEGMENT_BYTES_MIN: usize = 512;

/// How far publishers may run ahead of a delivery shard that has not looked yet, in bytes. Enough to fill one
/// `send` many times over, little enough that ten thousand busy topics fit in memory.
pub const BACKLOG_BYTES_MAX: u64 = 256 * 1024;

/// Why everything comes to a log that is published anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Feed {
    /// Because there are subscribers, or because there are no other instances.
    #[default]
    Wanted,
    /// Because this instance has kept the topic since then, in milliseconds since the Unix epoch.
    Kept(u64),
}

/// A place between two records. The default one is where every log begins to be written; what is filled in later of the
/// time before lies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Bytes of the log before it.
    pub offset: u64,
    /// Events of the log before it.
    pub seq: u64,
}

/// How much of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Events.
    pub events: u64,
    /// Bytes of encoded events.
    pub bytes: u64,
    /// Milliseconds.
    pub age_ms: u64,
}

/// The bytes of a range of the log.
pub struct View {
    /// In order, without a gap, none empty.
    pub slices: SmallVec<[Slice; 2]>,
    /// Where the view begins: what was asked for, or the oldest event if that is newer.
    pub start: Position,
    /// Where the log ends.
    pub head: Position,
}

/// One topic's events.
#[derive(Default)]
pub struct TopicLog {
    pub(super) segments: VecDeque<Segment>,
    writer: Option<Writer>,
    pub(super) tail: Position,
    head: Position,
    pub(super) dropped: Option<EventId>,
    pub(super) highest: Option<EventId>,
    /// Everything above it is here, or was dropped; what is not may have passed the log by.
    pub(super) floor: EventId,
    /// The [`Feed`] that `floor` holds for.
    pub(super) feed: Feed,
    /// What lies before it may have holes, and is read by nobody before it has been filled in.
    pub(super) seam: Position,
    pub(super) filled: bool,
    pub(super) recent: Recent,
    /// Up to where each delivery shard has looked; `None` for those without subscribers.
    taken: SmallVec<[Option<u64>; 2]>,
}

// === impl Position ===

impl Position {
    /// Before everything.
    pub const MIN: Self = Self { offset: 0, seq: 0 };

    /// After everything.
    pub const MAX: Self = Self { offset: u64::MAX, seq: u64::MAX };

    /// The position after a record that begins here.
    #[must_use]
    pub fn after(self, record: &Record) -> Self {
        Self { offset: self.offset + record.chunk.len() as u64, seq: self.seq + 1 }
    }
}

impl Default for Position {
    fn default() -> Self {
        // As far from the beginning as no log comes, in either direction.
        Self { offset: 1 << 48, seq: 1 << 48 }
    }
}

// === impl View ===

impl View {
    /// Each slice with the position at its end.
    pub fn runs(&self) -> impl Iterator<Item = (&Slice, Position)> {
        let ends = self.slices.iter().skip(1).map(Slice::start).chain([self.head]);
        self.slices.iter().zip(ends)
    }

    /// The bytes, in order.
    pub fn parts(&self) -> SmallVec<[&[u8]; 2]> {
        self.slices.iter().map(Slice::bytes).collect()
    }

    /// Leaves out what lies at `end` and above.
    #[must_use]
    pub fn until(mut self, end: Position) -> Self {
        self.head = self.head.min(end);
        self.slices.iter_mut().for_each(|slice| slice.truncate(end.offset));
        self.slices.retain(|slice| !slice.bytes().is_empty());
        self
    }
}

// === impl TopicLog ===

impl TopicLog {
    /// An empty log that shards, one bit each, have asked for before it was there. It keeps for them what they
    /// have not looked at, from the first event on.
    pub fn awaited_by(shards: u64) -> Self {
        let used = u64::BITS - shards.leading_zeros();
        let taken =
            (0..used).map(|shard| (shards >> shard & 1 == 1).then_some(Position::default().offset)).collect();
        Self { taken, ..Self::default() }
    }

    /// Appends one event and returns the bytes of memory allocated for it. `after_id` is the event's block
    /// without its id line. Ids of one origin ascend; those of others come as they arrive.
    pub fn append(&mut self, id: &EventId, after_id: &[u8]) -> u64 {
        let mut id_line = Vec::with_capacity(CURSOR_BYTES_MAX + 8);
        frame::write_id(&self.recent.note(id), &mut id_line);
        let size_line = record::size_line(id_line.len() + after_id.len());
        let parts = [size_line.as_ref(), &id_line, after_id, b"\r\n"];
        let len: usize = parts.iter().map(|p| p.len()).sum();
        let fits = self.writer.as_mut().is_some_and(|writer| writer.append(&parts));
        let allocated = if fits { 0 } else { self.append_to_new_segment(&parts, len) };
        self.head = Position { offset: self.head.offset + len as u64, seq: self.head.seq + 1 };
        if let Some(segment) = self.segments.back_mut() {
            segment.note(*id);
        }
        self.highest = self.highest.max(Some(*id));
        allocated
    }

    /// Whether an event is here.
    pub fn contains(&self, id: &EventId) -> bool {
        // Nearly every event is newer than all before it.
        self.highest.is_some_and(|highest| *id <= highest) && self.end_of(id).is_some()
    }

    /// Drops the oldest events beyond the bounds, except those that a shard has not looked at, and returns the
    /// bytes of memory freed.
    pub fn trim(&mut self, bounds: &Bounds, now_ms: u64) -> u64 {
        let unseen = self.taken.iter().flatten().copied().min().unwrap_or(u64::MAX);
        let mut freed = 0_u64;
        while self.tail.seq < self.head.seq && self.tail.offset < unseen {
            let front = self.segments.front().expect("a log with events has segments");
            if self.tail.offset == front.end() {
                // All of it was dropped when it was the last one, and it was not continued.
                freed += self.segments.pop_front().map_or(0, |s| s.cost());
                continue;
            }
            let (Cursor { id, .. }, len) =
                front.at(self.tail.offset).expect("the tail is the start of a record");
            let within = self.head.seq - self.tail.seq <= bounds.events
                && self.head.offset - self.tail.offset <= bounds.bytes
                && id.ms.saturating_add(bounds.age_ms) >= now_ms;
            if within {
                break;
            }
            self.tail = Position { offset: self.tail.offset + len, seq: self.tail.seq + 1 };
            self.dropped = self.dropped.max(Some(id));
            if self.tail.offset == front.end() && self.segments.len() > 1 {
                freed += self.segments.pop_front().map_or(0, |s| s.cost());
            }
        }
        freed
    }

    /// Drops whole segments up to the one that begins at `base`, seen or not seen by idle subscribers, to
    /// return memory under a global budget. Returns the bytes freed.
    pub fn drop_through(&mut self, base: u64) -> u64 {
        let unseen = self.taken.iter().flatten().copied().min().unwrap_or(u64::MAX);
        let mut freed = 0_u64;
        while let Some(front) = self.segments.front() {
            let end = front.end();
            if front.base.offset > base || end > unseen {
                break;
            }
            self.dropped = self.dropped.max(front.highest_id());
            self.tail = self.segments.get(1).map_or(self.head, |next| next.base);
            freed += self.segments.pop_front().map_or(0, |s| s.cost());
        }
        if self.segments.is_empty() {
            self.writer = None;
        }
        freed
    }

    /// Returns the memory of a log without events. Positions stay valid.
    pub fn release_if_empty(&mut self) -> u64 {
        if self.tail.seq < self.head.seq { 0 } else { self.drop_through(u64::MAX) }
    }

    /// What is new for a shard since `from`, and a note that the shard has seen it.
    pub fn take(&mut self, shard: usize, from: Position) -> View {
        if self.taken.len() <= shard {
            self.taken.resize(shard + 1, None);
        }
        self.taken[shard] = Some(self.head.offset);
        self.view(from)
    }

    /// The shard has no subscribers of this topic any more.
    pub fn leave(&mut self, shard: usize) {
        if let Some(taken) = self.taken.get_mut(shard) {
            *taken = None;
        }
    }

    /// Whether every shard keeps up: publishers wait while this is false.
    pub fn has_room(&self) -> bool {
        let unseen = self.taken.iter().flatten().copied().min();
        unseen.is_none_or(|unseen| self.head.offset - unseen < BACKLOG_BYTES_MAX)
    }

    /// The bytes from `from` on.
    pub fn view(&self, from: Position) -> View {
        let start = from.max(self.tail);
        let first = self.segments.partition_point(|s| s.end() <= start.offset);
        let slices = self.segments.range(first..).map(|s| s.from(start.max(s.base))).collect();
        View { slices, start, head: self.head }
    }

    /// Events up to `floor` may have been published that are not here: there was nobody to receive them for. They can be
    /// [filled in](Self::fill) before somebody reads what there is.
    pub fn interrupted(&mut self, floor: EventId) {
        self.floor = self.floor.max(floor);
        self.seam = self.head;
        self.filled = false;
        // The seam is between two segments.
        self.writer = None;
    }

    /// Somebody begins to read here. From there on the order stays as it is, so that what is filled in comes before all of it.
    pub fn entered(&mut self, position: Position) {
        if self.filled || position >= self.seam {
            return;
        }
        let begin = self.segments.front().map_or(self.head, |front| front.base);
        if begin == self.tail {
            self.seam = begin;
        } else {
            // Some of the oldest segment is gone, and nothing can be put into that place.
            self.filled = true;
        }
    }

    /// Everything above this id is here, or was dropped, as long as the log is fed as `feed` says.
    pub fn floor(&self, feed: Feed) -> EventId {
        match feed {
            Feed::Kept(since) if self.feed != feed => self.floor.max(EventId::at(since)),
            _ => self.floor,
        }
    }

    /// Whether what may have passed the log by can still be filled in.
    pub fn can_fill(&self) -> bool {
        !self.filled && self.tail <= self.seam
    }

    /// Where a reader goes on that has seen everything up to `id`, and whether nothing after it is missing.
    ///
    /// If the event is here, that is the place after it, since a subscriber sees a log in its order. If it is not, it
    /// is the first place after which all greater ids are; some of those that follow may have been seen before.
    pub fn after(&self, id: &EventId) -> (Position, bool) {
        if let Some(end) = self.end_of(id) {
            return (end, self.floor <= *id);
        }
        let mut above = self.segments.iter().filter(|segment| segment.has_above(id));
        let first = above.find_map(|segment| segment.above(id, self.tail_in(segment)));
        let gone = self.dropped.max(Some(self.floor));
        (first.unwrap_or(self.head), gone <= Some(*id))
    }

    /// Where the event with this id ends, if it is here.
    fn end_of(&self, id: &EventId) -> Option<Position> {
        // From the newest segment back: those who reconnect have usually missed little.
        let mut having = self.segments.iter().rev().filter(|segment| segment.may_have(id));
        having.find_map(|segment| segment.end_of(id, self.tail_in(segment)))
    }

    /// The offset of a segment's first record that has not been dropped.
    pub(super) fn tail_in(&self, segment: &Segment) -> u64 {
        self.tail.offset.max(segment.base.offset)
    }

    /// How far a reader at `position` has come, even if the event before it is gone.
    pub fn cursor_at(&self, position: Position) -> Option<Cursor> {
        if position.offset <= self.tail.offset {
            return self.dropped.map(Cursor::from);
        }
        let (start, _) = self.around(position.offset - 1)?;
        let segment = self.segments.partition_point(|s| s.base.offset <= start.offset);
        self.segments.get(segment.checked_sub(1)?)?.at(start.offset).map(|(cursor, _)| cursor)
    }

    /// The first event that is not older than `ms`, or the end of the log.
    pub fn since(&self, ms: u64) -> Position {
        let before = ms.checked_sub(1).map(|ms| EventId { ms, counter: u32::MAX, origin: Origin(u32::MAX) });
        before.map_or(self.tail, |id| self.after(&id).0)
    }

    /// The position of event number `seq`: the oldest event if that one is gone, the end if it is to come.
    pub fn nth(&self, seq: u64) -> Position {
        if seq <= self.tail.seq {
            return self.tail;
        }
        let after = self.segments.partition_point(|s| s.base.seq <= seq);
        after.checked_sub(1).and_then(|i| self.segments[i].nth(seq)).unwrap_or(self.head)
    }

    /// Start and end of the event that `offset` lies in; `None` if it is gone or to come.
    pub fn around(&self, offset: u64) -> Option<(Position, Position)> {
        if offset < self.tail.offset {
            return None;
        }
        let after = self.segments.partition_point(|s| s.base.offset <= offset);
        self.segments.get(after.checked_sub(1)?)?.around(offset)
    }

    /// The end of the log.
    pub fn head(&self) -> Position {
        self.head
    }

    /// The start of the oldest event.
    pub fn tail(&self) -> Position {
        self.tail
    }

    /// The id of the oldest event.
    pub fn oldest(&self) -> Option<EventId> {
        let front = self.segments.front()?;
        (self.tail.seq < self.head.seq).then(|| front.at(self.tail.offset).map(|(cursor, _)| cursor.id))?
    }

    /// The greatest id that has been here.
    pub fn highest(&self) -> Option<EventId> {
        self.highest
    }

    /// The newest id that is no longer here.
    pub fn dropped(&self) -> Option<EventId> {
        self.dropped
    }

    fn append_to_new_segment(&mut self, parts: &[&[u8]], len: usize) -> u64 {
        let grown = self.segments.back().map_or(SEGMENT_BYTES_MIN, |last| last.capacity() * 2);
        let capacity = grown.min(SEGMENT_BYTES_MAX).max(len);
        let (segment, mut writer) = Segment::new(self.head, capacity);
        let fits = writer.append(parts);
        debug_assert!(fits, "a new segment has room for the event it was made for");
        self.segments.push_back(segment);
        self.writer = Some(writer);
        self.segments.back().map_or(0, Segment::cost)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_event_is_kept_for_those_who_await_it() {
        let bounds = Bounds { events: 0, bytes: 0, age_ms: 0 };
        let mut log = TopicLog::awaited_by(0b100);
        log.append(&id(1), b"data: x\n\n");
        log.trim(&bounds, 1000);
        assert_eq!(log.take(2, Position::default()).start, Position::default());
        log.trim(&bounds, 1000);
        assert_eq!(log.tail(), log.head(), "all have seen it");
    }

    #[test]
    fn a_log_goes_on_after_everything_was_dropped_and_something_passed_by() {
        let none = Bounds { events: 0, bytes: 0, age_ms: 0 };
        let mut log = TopicLog::default();
        let allocated = log.append(&id(1), b"data: x\n\n");
        assert_eq!((log.trim(&none, 1000), log.tail()), (0, log.head()));
        log.interrupted(id(5));
        log.append(&id(9), b"data: y\n\n");
        assert_eq!((log.trim(&WIDE, 0), log.oldest()), (allocated, Some(id(9))));
    }

    fn seq(position: Position) -> u64 {
        position.seq - Position::default().seq
    }

    fn nth(log: &TopicLog, n: u64) -> Position {
        log.nth(Position::default().seq + n)
    }

    const WIDE: Bounds = Bounds { events: u64::MAX, bytes: u64::MAX, age_ms: u64::MAX };

    fn id(n: u64) -> EventId {
        EventId { ms: n / 10, counter: u32::try_from(n % 10).unwrap(), origin: Origin(7) }
    }

    fn log_of(sizes: &[usize]) -> TopicLog {
        let mut log = TopicLog::default();
        for (n, size) in sizes.iter().enumerate() {
            log.append(&id(n as u64), format!("data: {}\n\n", "x".repeat(*size)).as_bytes());
        }
        log
    }

    fn ids(view: &View) -> Vec<EventId> {
        let ids = |s: &Slice| record::records(s.bytes(), 0).map(|r| r.id(s.bytes())).collect::<Vec<_>>();
        view.slices.iter().flat_map(ids).collect()
    }

    #[test]
    fn a_view_outlives_what_it_shows() {
        let mut log = log_of(&[400, 400, 400]);
        let view = log.view(Position::default());
        log.drop_through(u64::MAX);
        assert_eq!(log.oldest(), None);
        assert_eq!(ids(&view), [id(0), id(1), id(2)]);
        log.append(&id(9), b"data: y\n\n");
        assert_eq!(ids(&log.view(Position::default())), [id(9)]);
        assert_eq!(log.view(Position::default()).start, view.head);
    }

    #[test]
    fn what_a_shard_has_not_seen_is_not_trimmed() {
        let mut log = log_of(&[10, 10]);
        let seen = log.take(1, Position::default()).head;
        log.append(&id(2), b"data: y\n\n");
        log.trim(&Bounds { events: 0, ..WIDE }, 0);
        assert_eq!(log.tail(), seen);
        log.leave(1);
        log.trim(&Bounds { events: 0, ..WIDE }, 0);
        assert_eq!(log.tail(), log.head());
        assert_eq!(log.dropped(), Some(id(2)));
    }

    #[test]
    fn publishers_wait_for_a_shard_that_is_behind() {
        let mut log = log_of(&[]);
        assert!(log.has_room());
        let at = log.take(0, Position::default()).head;
        let mut n = 0;
        while log.has_room() {
            log.append(&id(n), format!("data: {}\n\n", "x".repeat(5_000)).as_bytes());
            n += 1;
        }
        assert!(log.head().offset - at.offset >= BACKLOG_BYTES_MAX && n < 60);
        log.take(0, at);
        assert!(log.has_room());
    }

    #[test]
    fn old_events_go_by_age() {
        let mut log = log_of(&[1; 50]);
        log.trim(&Bounds { age_ms: 2, ..WIDE }, 5);
        assert_eq!(log.oldest(), Some(id(30)));
        log.trim(&Bounds { age_ms: 2, ..WIDE }, 50);
        assert_eq!(log.oldest(), None);
        assert!(log.release_if_empty() > 0);
    }

    #[test]
    fn a_reader_goes_on_where_it_was_whatever_the_order_of_ids() {
        let mut log = TopicLog::default();
        let stray = EventId { origin: Origin(9), ..id(15) };
        for id in [id(10), id(20), stray, id(30)] {
            log.append(&id, b"data: x\n\n");
        }
        assert_eq!(log.after(&id(20)), (nth(&log, 2), true), "the stray one came after it");
        assert_eq!(log.after(&stray), (nth(&log, 3), true));
        assert_eq!(log.after(&id(12)), (nth(&log, 1), true));
        assert_eq!(log.after(&id(25)), (nth(&log, 3), true));
        assert_eq!(log.after(&id(31)), (log.head(), true));
    }

    #[test]
    fn what_may_have_passed_by_is_missing() {
        let mut log = log_of(&[10, 10]);
        log.interrupted(id(5));
        log.append(&id(6), b"data: x\n\n");
        log.append(&id(7), b"data: x\n\n");
        assert_eq!(log.after(&id(1)), (nth(&log, 2), false));
        assert_eq!(log.after(&id(4)), (nth(&log, 2), false));
        assert_eq!(log.after(&id(5)), (nth(&log, 2), true));
        assert_eq!(log.after(&id(6)), (nth(&log, 3), true));
    }

    proptest! {
        /// Every look-up agrees with a plain list of the events.
        #[test]
        fn look_ups_agree_with_a_list(
            sizes in prop::collection::vec(prop_oneof![0_usize..200, 3_000_usize..90_000], 0..60),
            keep in 0_u64..70,
            asked in 0_u64..70,
        ) {
            let mut log = log_of(&sizes);
            log.trim(&Bounds { events: keep, ..WIDE }, 0);
            let all = sizes.len() as u64;
            let tail = all.saturating_sub(keep);
            prop_assert_eq!(seq(log.tail()), tail);
            prop_assert_eq!(seq(log.head()), all);
            let expected: Vec<_> = (tail..all).map(id).collect();
            prop_assert_eq!(ids(&log.view(Position::default())), expected);

            let next = (asked + 1).clamp(tail, all);
            let (position, complete) = log.after(&id(asked));
            prop_assert_eq!(seq(position), next);
            prop_assert_eq!(complete, tail == 0 || asked + 1 >= tail);
            prop_assert_eq!(nth(&log, next), position);
            prop_assert_eq!(log.cursor_at(position), next.checked_sub(1).map(|n| id(n).into()));
            prop_assert_eq!(ids(&log.view(position)).len() as u64, all - next);
            if next < all {
                for offset in [position.offset, position.offset + 5] {
                    let (start, end) = log.around(offset).unwrap();
                    prop_assert_eq!(start, position);
                    prop_assert_eq!(end, nth(&log, next + 1));
                }
            }
            prop_assert_eq!(seq(log.since(asked / 10 + 1)), ((asked / 10 + 1) * 10).clamp(tail, all));
        }
    }
}
