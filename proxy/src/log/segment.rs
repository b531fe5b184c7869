//! A run of a log in one piece of memory.

use std::{ops::Range, sync::Arc};

use super::{
    append_buf::{AppendBuf, Writer},
    record::{self, Record},
    topic_log::Position,
};
use crate::event::{Cursor, EventId};

/// A topic with a log, its map entry and a segment's own fields, rounded up, so that a budget over many small
/// topics holds.
const OVERHEAD: usize = 512;

/// A run of whole records in contiguous memory.
#[derive(Clone)]
pub struct Segment {
    /// Where the segment begins in the log.
    pub base: Position,
    buf: Arc<AppendBuf>,
    /// The lowest and the highest id of its records.
    ids: Option<(EventId, EventId)>,
}

/// A range of one segment that stays readable, whatever the log drops meanwhile.
#[derive(Clone)]
pub struct Slice {
    segment: Segment,
    start: Position,
    range: Range<usize>,
}

// === impl Segment ===

impl Segment {
    /// An empty segment that begins at `base`, and its writer.
    pub fn new(base: Position, capacity: usize) -> (Self, Writer) {
        let writer = Writer::with_capacity(capacity);
        (Self { base, buf: Arc::clone(writer.reader()), ids: None }, writer)
    }

    /// The offset after the last record.
    pub fn end(&self) -> u64 {
        self.base.offset + self.buf.bytes().len() as u64
    }

    /// How many bytes of records fit in all.
    pub fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// What the segment costs in memory, its share of the topic's own included, in bytes.
    pub fn cost(&self) -> u64 {
        (self.capacity() + OVERHEAD) as u64
    }

    /// The bytes from `start` to the end.
    pub fn from(&self, start: Position) -> Slice {
        let len = self.buf.bytes().len();
        Slice { segment: self.clone(), start, range: self.index(start.offset).min(len)..len }
    }

    /// Notes the id of a record that was appended.
    pub fn note(&mut self, id: EventId) {
        self.ids = Some(self.ids.map_or((id, id), |(low, high)| (low.min(id), high.max(id))));
    }

    /// Whether a record with this id can be here.
    pub fn may_have(&self, id: &EventId) -> bool {
        self.ids.is_some_and(|(low, high)| (low..=high).contains(id))
    }

    /// Whether a record with a greater id has been here.
    pub fn has_above(&self, id: &EventId) -> bool {
        self.ids.is_some_and(|(_, high)| high > *id)
    }

    /// Where the first record from `from` on begins whose id is greater than `id`.
    pub fn above(&self, id: &EventId, from: u64) -> Option<Position> {
        let bytes = self.buf.bytes();
        self.records(bytes, from).find_map(|(position, record)| (record.id(bytes) > *id).then_some(position))
    }

    /// Where the record with this id ends, if it is here and begins at `from` or later.
    pub fn end_of(&self, id: &EventId, from: u64) -> Option<Position> {
        let bytes = self.buf.bytes();
        let is_it = |(position, record): (Position, Record)| {
            (record.id(bytes) == *id).then(|| position.after(&record))
        };
        self.records(bytes, from).find_map(is_it)
    }

    /// The position of the record that `offset` lies in, and where that record ends.
    pub fn around(&self, offset: u64) -> Option<(Position, Position)> {
        let bytes = self.buf.bytes();
        self.records(bytes, self.base.offset).find_map(|(start, record)| {
            let end = Position { offset: self.base.offset + record.chunk.end as u64, seq: start.seq + 1 };
            (end.offset > offset).then_some((start, end))
        })
    }

    /// The position of record number `seq`, if it is here.
    pub fn nth(&self, seq: u64) -> Option<Position> {
        let bytes = self.buf.bytes();
        let nth = usize::try_from(seq.checked_sub(self.base.seq)?).ok()?;
        self.records(bytes, self.base.offset).nth(nth).map(|(position, _)| position)
    }

    /// The cursor after the record that begins at `offset`, and its length in bytes.
    pub fn at(&self, offset: u64) -> Option<(Cursor, u64)> {
        let bytes = self.buf.bytes();
        let record = Record::at(bytes, self.index(offset))?;
        Some((record.cursor(bytes), record.chunk.len() as u64))
    }

    /// The highest id of its records.
    pub fn highest_id(&self) -> Option<EventId> {
        self.ids.map(|(_, high)| high)
    }

    fn records<'a>(&'a self, bytes: &'a [u8], from: u64) -> impl Iterator<Item = (Position, Record)> + 'a {
        let skipped = if from == self.base.offset {
            0
        } else {
            record::records(bytes, 0).take_while(|r| r.chunk.start < self.index(from)).count()
        };
        record::records(bytes, self.index(from)).enumerate().map(move |(n, record)| {
            let position = Position {
                offset: self.base.offset + record.chunk.start as u64,
                seq: self.base.seq + (skipped + n) as u64,
            };
            (position, record)
        })
    }

    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset - self.base.offset).expect("a segment fits in memory")
    }
}

// === impl Slice ===

impl Slice {
    /// The bytes, chunk framing included.
    pub fn bytes(&self) -> &[u8] {
        &self.segment.buf.bytes()[self.range.clone()]
    }

    /// The position of the first byte.
    pub fn start(&self) -> Position {
        self.start
    }

    /// Leaves out what lies at `end` and above.
    pub fn truncate(&mut self, end: u64) {
        let end = usize::try_from(end.saturating_sub(self.segment.base.offset)).unwrap_or(usize::MAX);
        self.range.end = self.range.end.min(end.max(self.range.start));
    }
}
