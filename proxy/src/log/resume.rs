//! Where a reader goes on that comes from another log of the same topic.

use super::{
    fill::Kept,
    order::{self, Difference},
    recent::{Recent, reach},
    record,
    topic_log::{Position, TopicLog},
};
use crate::event::{Cursor, EventId};

/// As many events around the named one are looked at to find out in what the order differs.
const AROUND_MAX: usize = 4096;

/// As much is sent again, in bytes and in events, when that is not found out.
const AGAIN_BYTES_MAX: usize = 64 * 1024;
const AGAIN_MAX: usize = 256;

/// Where a reader goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// From there on it has seen nothing.
    pub position: Position,
    /// Nothing that it has not seen is gone.
    pub complete: bool,
    /// What it has not seen of before, as event-stream blocks.
    pub first: Vec<u8>,
    /// Whether its log had another order than this one.
    pub reordered: Option<Reordered>,
}

/// What became of a reader whose log had another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reordered {
    /// It was found out which events it had seen.
    Exactly,
    /// It was not, and it gets those again that it may not have seen.
    Again,
}

/// One event and where it is.
struct Placed {
    id: EventId,
    end: Position,
}

/// The events around a named one, in the order of the log.
struct Around {
    /// As far back as the digests of those reach that the digest of the named one reaches, or as far as they are here.
    placed: Vec<Placed>,
    /// How many of them the named one comes after.
    before: usize,
    /// Some are not here.
    cut: bool,
}

// === impl TopicLog ===

impl TopicLog {
    /// Where a reader goes on that has come so far in this log or another one of the topic.
    pub fn resume(&self, cursor: &Cursor) -> Resumed {
        let (position, complete) = self.after(&cursor.id);
        let plain = Resumed { position, complete, ..Resumed::default() };
        let here = self.cursor_at(position).filter(|here| here.id == cursor.id);
        if !complete || here == Some(*cursor) {
            return plain;
        }
        let around = self.around_of(&cursor.id, position);
        let reach = reach(&cursor.id);
        let others = |(at, placed): (usize, &Placed)| {
            (placed.id.origin != cursor.id.origin && placed.id >= reach).then_some(at)
        };
        let (before, after) = around.placed.split_at(around.before);
        let before: Vec<_> = before.iter().enumerate().filter_map(others).collect();
        let after: Vec<_> =
            after.iter().enumerate().filter_map(others).map(|at| at + around.before).collect();
        let ids = |places: &[usize]| places.iter().map(|at| around.placed[*at].id).collect::<Vec<_>>();
        match order::explain(&ids(&before), &ids(&after), cursor.others) {
            Some(Difference { unseen, seen }) if unseen.is_empty() && seen.is_empty() => plain,
            Some(Difference { unseen, seen }) => {
                let last = seen.last().map_or(around.before, |at| after[*at] + 1);
                let mut missing: Vec<_> = unseen.iter().map(|at| before[*at]).collect();
                let seen: Vec<_> = seen.iter().map(|at| after[*at]).collect();
                missing.extend((around.before..last).filter(|at| seen.binary_search(at).is_err()));
                let position = last.checked_sub(1).map_or(position, |at| around.placed[at].end.max(position));
                let first = self.blocks(&around, last, &missing, &cursor.id);
                Resumed { position, complete, first, reordered: Some(Reordered::Exactly) }
            }
            None => self.again(&around, &before, &plain, &cursor.id),
        }
    }

    /// Everything is sent again that may not have been seen.
    fn again(&self, around: &Around, before: &[usize], plain: &Resumed, named: &EventId) -> Resumed {
        let first = self.blocks(around, around.before, before, named);
        let reordered = Some(Reordered::Again);
        if before.len() <= AGAIN_MAX && first.len() <= AGAIN_BYTES_MAX {
            return Resumed { position: plain.position, complete: !around.cut, first, reordered };
        }
        let begin = before.first().map_or(plain.position, |at| match at.checked_sub(1) {
            Some(at) => around.placed[at].end,
            None => self.tail().max(Position::MIN),
        });
        Resumed { position: begin, complete: !around.cut, first: Vec::new(), reordered }
    }

    /// Those of the first `last` events that have not been seen, as blocks, each with the id that is true after it.
    fn blocks(&self, around: &Around, last: usize, which: &[usize], named: &EventId) -> Vec<u8> {
        let mut recent = Recent::default();
        for at in (0..last).filter(|at| which.binary_search(at).is_err()) {
            recent.note(&around.placed[at].id);
        }
        if !around.placed[..around.before].iter().any(|placed| placed.id == *named) {
            recent.note(named);
        }
        let mut blocks = Vec::new();
        for at in which {
            let placed = &around.placed[*at];
            if let Some(kept) = self.event_ending(placed.end) {
                blocks.extend_from_slice(&kept.frame(&recent.note(&placed.id)));
            }
        }
        blocks
    }

    fn event_ending(&self, end: Position) -> Option<Kept> {
        let (start, _) = self.around(end.offset - 1)?;
        let view = self.view(start).until(end);
        let slice = view.slices.first()?;
        let record = record::Record::at(slice.bytes(), 0)?;
        Some(Kept { id: record.id(slice.bytes()), after_id: record.after_id(slice.bytes()).to_vec() })
    }

    /// The events around a place that matter for one with this id.
    fn around_of(&self, id: &EventId, place: Position) -> Around {
        let reach = reach(&reach(id));
        let begin = self.segments.iter().find(|segment| segment.has_above(&reach));
        let begin = begin.map_or(self.tail(), |segment| segment.base.max(self.tail()));
        let view = self.view(begin);
        let mut around =
            Around { placed: Vec::new(), before: 0, cut: self.dropped() >= Some(self::reach(id)) };
        for (slice, _) in view.runs() {
            let mut position = slice.start();
            for record in record::records(slice.bytes(), 0) {
                position = position.after(&record);
                let found = record.id(slice.bytes());
                if found < reach {
                    continue;
                }
                let is_before = position <= place;
                if !is_before && around.placed.len() - around.before >= AROUND_MAX {
                    return around;
                }
                around.before += usize::from(is_before);
                around.placed.push(Placed { id: found, end: position });
            }
        }
        let excess = around.before.saturating_sub(AROUND_MAX);
        around.placed.drain(..excess);
        around.before -= excess;
        around.cut |= excess > 0;
        around
    }

    /// The ids of all events from a position on.
    pub(super) fn ids(&self, from: Position) -> Vec<EventId> {
        let view = self.view(from);
        let ids = |bytes: &[u8]| record::records(bytes, 0).map(|r| r.id(bytes)).collect::<Vec<_>>();
        view.slices.iter().flat_map(|slice| ids(slice.bytes())).collect()
    }
}

#[cfg(test)]
mod tests;
