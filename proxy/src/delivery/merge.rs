//! Several topics on one connection: their events in the order of their ids.
//!
//! A client remembers one id. It is a correct position in all its topics if the connection delivers in id
//! order, and never an event below one that another log might still be given.

use super::{conn::Form, fanout::Piece, sink::PARTS_MAX};
use crate::{
    event::EventId,
    log::{Position, Record, Slice, View},
};

/// Reads one view event by event.
struct Reader<'a> {
    sub: u32,
    slices: &'a [Slice],
    /// Index of the next record in the first slice.
    at: usize,
    position: Position,
}

/// The events of the views up to `reached`, oldest first.
pub(super) fn merge<'a>(views: &'a [(u32, View)], form: Form, reached: &EventId) -> Vec<Piece<'a>> {
    let mut readers: Vec<_> = views.iter().map(|(sub, view)| Reader::new(*sub, view)).collect();
    let mut pieces = Vec::new();
    while pieces.len() < PARTS_MAX {
        let ids = readers.iter().enumerate().filter_map(|(i, reader)| Some((reader.id()?, i)));
        match ids.min() {
            Some((id, i)) if id <= *reached => pieces.extend(readers[i].next(form)),
            _ => break,
        }
    }
    pieces
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn new(sub: u32, view: &'a View) -> Self {
        Self { sub, slices: &view.slices, at: 0, position: view.start }
    }

    fn record(&self) -> Option<(&'a [u8], Record)> {
        let bytes = self.slices.first()?.bytes();
        Some((bytes, Record::at(bytes, self.at)?))
    }

    fn id(&self) -> Option<EventId> {
        self.record().map(|(bytes, record)| record.id(bytes))
    }

    fn next(&mut self, form: Form) -> Option<Piece<'a>> {
        let (bytes, record) = self.record()?;
        let start = self.position;
        self.position = start.after(&record);
        self.at = record.chunk.end;
        if self.at == bytes.len() {
            self.slices = &self.slices[1..];
            self.at = 0;
        }
        let range = if form == Form::Chunked { record.chunk } else { record.frame };
        Some(Piece { bytes: &bytes[range], sub: self.sub, start, end: self.position })
    }
}
