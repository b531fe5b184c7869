//! Writing: from topics' logs to subscribers.
//!
//! Those who keep up with a topic are all at the same position, so the bytes for them are looked up once and
//! the rest is a loop of sends. Everyone else (who fell behind, begins with a replay, or has several topics)
//! is served by [`Shard::catch_up`] from its own position.

use std::{iter, time::Instant};

use slab::Slab;
use smallvec::SmallVec;
use tracing::Span;

use super::{
    conn::{Conn, Form, Local, NONE, Outbox, Sub},
    merge::merge,
    shard::Shard,
    sink::PARTS_MAX,
    stats::{CutReason, Stats},
};
use crate::{
    hub::resume::slow_gap,
    log::{Position, View, record::records},
    telemetry::trace,
};

/// Whole events on their way to one subscriber.
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) sub: u32,
    /// Where the subscription is before and after the piece.
    pub(super) start: Position,
    pub(super) end: Position,
}

// === impl Shard ===

impl Shard {
    /// Serves all topics that have news.
    pub(super) fn deliver_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for (local, since) in dirty.drain(..) {
            self.deliver(local, Some(since));
        }
        self.dirty = dirty;
        let mut merging = std::mem::take(&mut self.merging);
        merging.sort_unstable();
        merging.dedup();
        for key in merging.drain(..) {
            if self.conns.get(key as usize).is_some_and(|conn| !conn.blocked) {
                self.catch_up(key);
            }
        }
        self.merging = merging;
    }

    /// Serves the subscribers of one topic with what is new in its log, at the latest since `since`.
    pub(super) fn deliver(&mut self, local: u32, since: Option<Instant>) {
        let Some(entry) = self.locals.get_mut(local as usize) else { return };
        entry.topic.clear_dirty(self.number);
        let from = entry.at;
        let Some(view) = entry.topic.take(self.number, from).filter(|view| view.head > from) else { return };
        debug_assert_eq!(view.start, from, "a log keeps what a shard has not seen");
        entry.at = view.head;
        self.hub.made_room();
        let spans = self.spans(local, &view);
        let deliveries = self.fan_out(local, &view);
        drop(spans);
        if let Some(since) = since {
            self.stats.delivered(since.elapsed(), deliveries);
        }
        if self.locals[local as usize].behind > 0 {
            self.enforce_lag(local);
        }
    }

    /// The spans of a pass, one for each of its events that is traced.
    fn spans(&self, local: u32, view: &View) -> Vec<Span> {
        let Local { topic, members, .. } = &self.locals[local as usize];
        let (start, end) = (view.start.seq, view.head.seq);
        let traced = self.hub.traced().take(topic.id(), self.number, start..end).into_iter();
        traced.map(|parent| trace::deliver(parent, self.number, members.len(), end - start)).collect()
    }

    /// Returns how many deliveries were tried: events times subscribers that keep up.
    fn fan_out(&mut self, local: u32, view: &View) -> u64 {
        let now = self.now();
        let parts = view.parts();
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let (mut served, mut others) = (0, Vec::new());
        let mut skipped = 0;
        for member in &self.locals[local as usize].members {
            let sub = &mut self.subs[*member as usize];
            let conn = &mut self.conns[sub.conn as usize];
            if conn.blocked {
                skipped += 1;
                continue;
            }
            if conn.several {
                self.merging.push(sub.conn);
                continue;
            }
            if conn.form == Form::Raw {
                skipped += u64::from(!conn.sink.is_counted());
                others.push(sub.conn);
                continue;
            }
            match conn.sink.write(&parts) {
                Ok(written) if written == total => {
                    sub.cursor = view.head;
                    conn.last_write = now;
                    served += 1;
                }
                Ok(written) => {
                    others.push(sub.conn);
                    let pieces = pieces(view, *member, Form::Chunked);
                    settle(&mut self.subs, conn, written, &pieces, &self.stats);
                }
                Err(_) => self.doomed.push((sub.conn, CutReason::Error)),
            }
        }
        let events = view.head.seq - view.start.seq;
        Stats::add(&self.stats.events, served * events);
        Stats::add(&self.stats.bytes, served * total as u64);
        for key in others {
            self.catch_up(key);
        }
        events * (self.locals[local as usize].members.len() as u64).saturating_sub(skipped)
    }

    /// Writes to one subscriber until it is up to date or its sink is full.
    pub(super) fn catch_up(&mut self, key: u32) {
        loop {
            // Every event of this instance up to here is in its log when the logs are looked at below: an id is taken
            // and its event appended under the lock of the log.
            let reached = self.hub.clock().ceiling();
            let views = self.pending(key);
            let now = self.now();
            let conn = &mut self.conns[key as usize];
            let pieces = match &views[..] {
                views if conn.several => merge(views, conn.form, &reached),
                [(sub, view)] => pieces(view, *sub, conn.form),
                _ => Vec::new(),
            };
            let outbox = conn.outbox.take();
            let rest = outbox.as_ref().map_or(&[][..], |outbox| &outbox.bytes);
            let parts = iter::once(rest).chain(pieces.iter().map(|piece| piece.bytes));
            let parts: SmallVec<[&[u8]; 4]> = parts.filter(|part| !part.is_empty()).take(PARTS_MAX).collect();
            if parts.is_empty() {
                return self.set_blocked(key, false);
            }
            let Ok(written) = conn.sink.write(&parts) else {
                return self.doomed.push((key, CutReason::Error));
            };
            if written > 0 {
                conn.last_write = now;
                if conn.sink.is_counted() {
                    Stats::add(&self.stats.bytes, written as u64);
                }
            }
            if written < rest.len() {
                conn.outbox = Some(Box::new(Outbox { bytes: rest[written..].to_vec() }));
            }
            settle(&mut self.subs, conn, written.saturating_sub(rest.len()), &pieces, &self.stats);
            if written < parts.iter().map(|part| part.len()).sum() {
                return self.set_blocked(key, true);
            }
        }
    }

    /// What a connection is still to get, for each of its subscriptions that is behind.
    fn pending(&mut self, key: u32) -> SmallVec<[(u32, View); 1]> {
        let conn = &mut self.conns[key as usize];
        let mut views = SmallVec::new();
        let mut next = conn.first_sub;
        while next != NONE {
            let sub = &mut self.subs[next as usize];
            let local = &self.locals[sub.topic as usize];
            if let Some(hole) = sub.hole.take_if(|hole| hole.from <= sub.cursor) {
                conn.say(&slow_gap(&local.topic, hole.to.seq - sub.cursor.seq));
                sub.cursor = hole.to;
            }
            // Those with one topic stay where all who keep up are; the others read on their own.
            let end = if conn.several { Position::MAX } else { local.at };
            let end = sub.hole.as_ref().map_or(end, |hole| hole.from);
            if sub.cursor < end
                && let Some(view) = local.topic.view(sub.cursor)
            {
                let view = view.until(end);
                if view.start > sub.cursor {
                    let dropped = view.start.seq - sub.cursor.seq;
                    Stats::add(&self.stats.dropped, dropped);
                    conn.say(&slow_gap(&local.topic, dropped));
                    sub.cursor = view.start;
                }
                if view.head > view.start {
                    views.push((next, view));
                }
            }
            next = sub.next;
        }
        views
    }

    /// Notes that a sink is full, or that its subscriber has everything.
    fn set_blocked(&mut self, key: u32, blocked: bool) {
        let conn = &mut self.conns[key as usize];
        if conn.blocked == blocked {
            return;
        }
        conn.blocked = blocked;
        self.stats.count_behind(blocked);
        let recovered = !blocked && std::mem::take(&mut conn.stuck_since) > 0;
        self.each_sub(key, |shard, topic| {
            shard.count_behind(topic, blocked);
            if recovered {
                shard.count_stuck(topic, false);
            }
        });
    }
}

/// The events of a view, as large as they can be written: runs of chunks, or the frames between.
fn pieces(view: &View, sub: u32, form: Form) -> Vec<Piece<'_>> {
    let mut start = view.start;
    let mut pieces = Vec::new();
    for (slice, end) in view.runs() {
        match form {
            Form::Chunked => pieces.push(Piece { bytes: slice.bytes(), sub, start, end }),
            Form::Raw => {
                for record in records(slice.bytes(), 0).take(PARTS_MAX - pieces.len()) {
                    let end = start.after(&record);
                    pieces.push(Piece { bytes: &slice.bytes()[record.frame], sub, start, end });
                    start = end;
                }
            }
        }
        start = end;
        if pieces.len() >= PARTS_MAX {
            break;
        }
    }
    pieces
}

/// Moves subscriptions over `written` bytes of the pieces. What is left of a half-written event goes to the
/// outbox, so that every position is between two events.
fn settle(subs: &mut Slab<Sub>, conn: &mut Conn, mut written: usize, pieces: &[Piece<'_>], stats: &Stats) {
    for piece in pieces {
        if written == 0 {
            return;
        }
        let sub = &mut subs[piece.sub as usize];
        let end = if written >= piece.bytes.len() {
            written -= piece.bytes.len();
            piece.end
        } else {
            let (end, rest) = split(piece, written, conn.form);
            conn.push(rest);
            written = 0;
            end
        };
        if conn.sink.is_counted() {
            Stats::add(&stats.events, end.seq - sub.cursor.seq);
        }
        sub.cursor = end;
    }
}

/// The end of the event that byte number `at` of a piece is in, and what is left of that event.
fn split<'a>(piece: &Piece<'a>, at: usize, form: Form) -> (Position, &'a [u8]) {
    if form == Form::Raw {
        return (piece.end, &piece.bytes[at..]);
    }
    let mut end = piece.start;
    for record in records(piece.bytes, 0) {
        let rest = at..record.chunk.end;
        if at == record.chunk.start {
            break;
        }
        end = end.after(&record);
        if at < rest.end {
            return (end, &piece.bytes[rest]);
        }
    }
    (end, &[])
}
