//! The sending end of a link.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use crate::wire::{Event, Frame};

/// A batch is not made larger than this, unless by one large frame.
const BATCH_BYTES: usize = 64 * 1024;

/// Batches that are not full leave at once until there were so many within one delay: a few events a millisecond
/// need not wait, and more are worth bundling.
const AT_ONCE: usize = 4;

/// How much may wait for one receiver, and how it is bundled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Events that wait for room in the window.
    pub queue_events: usize,
    /// Bytes of them.
    pub queue_bytes: usize,
    /// Frames of the mesh's own that wait. What is missed of them is found by comparison.
    pub queue_control: usize,
    /// Frames in one batch.
    pub batch_frames: usize,
    /// Of batches that are not full, so many leave within this time that a message costs more than waiting does.
    pub batch_delay: Duration,
}

/// Frames that wait, and batches on their way.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Events as they will leave. All chunks but the last are full.
    chunks: VecDeque<Chunk>,
    events: usize,
    event_bytes: usize,
    /// Bytes of the last chunk that left: the next one will be like it.
    usual_bytes: usize,
    control: VecDeque<(Bytes, u64)>,
    sent: VecDeque<Sent>,
    last: u64,
    /// When the last batches left, the oldest first.
    left_at: [Option<Duration>; AT_ONCE],
    unreported: u64,
    dropped: u64,
}

/// Frames of events, one after the other.
#[derive(Debug, Default)]
struct Chunk {
    frames: Vec<u8>,
    count: usize,
}

/// What became of an event for the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It begins a batch or completes one, so [`Outgoing::due`] has changed.
    Decisive,
    /// It waits with others.
    Queued,
    /// There is no room: it is dropped and counted.
    Dropped,
}

/// A batch that is not acknowledged yet.
#[derive(Debug)]
struct Sent {
    number: u64,
    frames: Bytes,
    /// Events in it.
    events: u64,
    /// The newest version of the interest that the batch announces, or 0.
    version: u64,
}

// === impl Outgoing ===

impl Outgoing {
    /// Queues an event, if there is room.
    pub fn push(&mut self, event: &Event<'_>, bounds: &Bounds) -> Pushed {
        self.append(event.frame_bytes(), |frames| event.encode(frames), bounds)
    }

    /// Appends a frame of so many bytes.
    fn append(&mut self, bytes: usize, write: impl FnOnce(&mut Vec<u8>), bounds: &Bounds) -> Pushed {
        let fits =
            self.events < bounds.queue_events && self.event_bytes + bytes <= bounds.queue_bytes.max(bytes);
        if !fits {
            self.unreported += 1;
            self.dropped += 1;
            return Pushed::Dropped;
        }
        if self.chunks.back().is_none_or(|chunk| chunk.is_full(bounds)) {
            let frames = Vec::with_capacity(bytes.max(self.usual_bytes));
            self.chunks.push_back(Chunk { frames, count: 0 });
        }
        let is_first = self.chunks.len() == 1;
        let chunk = self.chunks.back_mut().expect("there is one that is not full");
        write(&mut chunk.frames);
        chunk.count += 1;
        self.events += 1;
        self.event_bytes += bytes;
        let decides = is_first && (chunk.count == 1 || chunk.is_full(bounds));
        if decides { Pushed::Decisive } else { Pushed::Queued }
    }

    /// Queues a frame of the mesh's own, which goes before events. If it announces a change of the interest,
    /// `version` is what the interest is then. `false` if there is no room; a comparison will find what is missing.
    pub fn push_control(&mut self, frame: Bytes, version: u64, bounds: &Bounds) -> bool {
        let fits = self.control.len() < bounds.queue_control;
        if fits {
            self.control.push_back((frame, version));
        }
        fits
    }

    /// When the next batch may leave, if something waits and fewer than `window` batches are on their way.
    pub fn due(&self, window: usize, bounds: &Bounds) -> Option<Duration> {
        let waits = self.events > 0 || self.unreported > 0 || !self.control.is_empty();
        if !waits || self.sent.len() >= window {
            return None;
        }
        let full = self.chunks.front().is_some_and(|chunk| chunk.is_full(bounds));
        let at_once = full || !self.control.is_empty();
        Some(self.left_at[0].filter(|_| !at_once).map_or(Duration::ZERO, |at| at + bounds.batch_delay))
    }

    /// Takes the next batch: its number and its frames.
    pub fn take(&mut self, now: Duration, bounds: &Bounds) -> (u64, Bytes) {
        let (mut frames, mut version, mut count, mut events) = (Vec::new(), 0, 0, 0);
        if self.unreported > 0 {
            Frame::Dropped(std::mem::take(&mut self.unreported)).encode(&mut frames);
        }
        while count < bounds.batch_frames
            && frames.len() < BATCH_BYTES
            && let Some((frame, announced)) = self.control.pop_front()
        {
            frames.extend_from_slice(&frame);
            version = announced.max(version);
            count += 1;
        }
        let has_room = |chunk: &mut Chunk| {
            count + chunk.count <= bounds.batch_frames && frames.len() + chunk.frames.len() <= 2 * BATCH_BYTES
        };
        if let Some(chunk) = self.chunks.pop_front_if(|chunk| frames.is_empty() || has_room(chunk)) {
            self.events -= chunk.count;
            events = chunk.count as u64;
            self.event_bytes -= chunk.frames.len();
            self.usual_bytes = chunk.frames.len().min(BATCH_BYTES);
            if frames.is_empty() {
                frames = chunk.frames;
            } else {
                frames.extend_from_slice(&chunk.frames);
            }
        }
        self.last += 1;
        self.left_at.rotate_left(1);
        self.left_at[AT_ONCE - 1] = Some(now);
        let frames = Bytes::from(frames);
        self.sent.push_back(Sent { number: self.last, frames: frames.clone(), events, version });
        (self.last, frames)
    }

    /// Events that the receiver has not acknowledged and, if the link ends now, may not get; with those that it has not been
    /// told of yet.
    pub fn outstanding(&self) -> u64 {
        let on_their_way = self.sent.iter().map(|sent| sent.events).sum::<u64>();
        self.events as u64 + on_their_way + self.unreported
    }

    /// Events that the receiver did not get and has to be told of with the next batch.
    pub fn owe(&mut self, events: u64) {
        self.unreported += events;
    }

    /// Everything up to `number` has been taken by the receiver. Returns the newest version of the interest that
    /// it thereby knows, or 0, and whether anything was new.
    pub fn acknowledged(&mut self, number: u64) -> (u64, bool) {
        let (mut version, before) = (0, self.sent.len());
        while self.sent.front().is_some_and(|sent| sent.number <= number) {
            version = self.sent.pop_front().map_or(version, |sent| sent.version.max(version));
        }
        (version, self.sent.len() < before)
    }

    /// Batches from `from` to `to` that are not acknowledged, up to about `limit` bytes of them.
    pub fn range(&self, from: u64, to: u64, limit: usize) -> Vec<(u64, Bytes)> {
        let mut bytes = 0;
        let asked = self.sent.iter().filter(|sent| (from..=to).contains(&sent.number));
        let within = asked.take_while(|sent| {
            let fits = bytes < limit;
            bytes += sent.frames.len();
            fits
        });
        within.map(|sent| (sent.number, sent.frames.clone())).collect()
    }

    /// The number of the newest batch.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Events that wait, and batches on their way.
    pub fn depth(&self) -> (usize, usize) {
        (self.events, self.sent.len())
    }

    /// Bytes held for the receiver.
    pub fn bytes(&self) -> usize {
        self.event_bytes + self.sent.iter().map(|sent| sent.frames.len()).sum::<usize>()
    }

    /// Events dropped so far, since the receiver did not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

// === impl Chunk ===

impl Chunk {
    fn is_full(&self, bounds: &Bounds) -> bool {
        self.count >= bounds.batch_frames || self.frames.len() >= BATCH_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        queue_events: 4,
        queue_bytes: 100,
        queue_control: 10,
        batch_frames: 3,
        batch_delay: Duration::from_millis(1),
    };

    fn frame(n: u8) -> Bytes {
        Bytes::copy_from_slice(&[n; 10])
    }

    fn push(out: &mut Outgoing, n: u8) -> Pushed {
        append(out, &frame(n), &BOUNDS)
    }

    fn append(out: &mut Outgoing, frame: &[u8], bounds: &Bounds) -> Pushed {
        out.append(frame.len(), |frames| frames.extend_from_slice(frame), bounds)
    }

    #[test]
    fn a_few_events_leave_at_once_and_a_burst_together() {
        let mut out = Outgoing::default();
        let at = Duration::from_secs(5);
        assert_eq!(out.due(8, &BOUNDS), None);
        for number in 1..=AT_ONCE as u64 {
            assert_eq!(push(&mut out, 1), Pushed::Decisive);
            assert_eq!(out.due(8, &BOUNDS), Some(Duration::ZERO));
            assert_eq!(out.take(at, &BOUNDS), (number, frame(1)));
        }
        assert_eq!(push(&mut out, 2), Pushed::Decisive);
        assert_eq!(out.due(8, &BOUNDS), Some(at + BOUNDS.batch_delay));
        assert_eq!(push(&mut out, 3), Pushed::Queued);
        assert_eq!(push(&mut out, 4), Pushed::Decisive, "a full batch is due at another time");
        assert_eq!(out.due(8, &BOUNDS), Some(Duration::ZERO), "a full batch does not wait");
        assert_eq!(out.take(at, &BOUNDS).1.len(), 30);
    }

    #[test]
    fn nothing_leaves_beyond_the_window() {
        let mut out = Outgoing::default();
        push(&mut out, 1);
        out.take(Duration::ZERO, &BOUNDS);
        out.push_control(frame(2), 7, &BOUNDS);
        assert_eq!(out.due(1, &BOUNDS), None);
        assert_eq!(out.acknowledged(1), (0, true));
        assert_eq!(out.due(1, &BOUNDS), Some(Duration::ZERO));
        out.take(Duration::ZERO, &BOUNDS);
        assert_eq!(out.range(1, 9, 100), [(2, frame(2))]);
        assert_eq!(out.acknowledged(2), (7, true));
        assert_eq!(out.acknowledged(2), (0, false));
    }

    #[test]
    fn what_is_dropped_is_told() {
        let mut out = Outgoing::default();
        let pushed: Vec<_> = (0..6).map(|n| push(&mut out, n)).collect();
        let (decisive, queued, dropped) = (Pushed::Decisive, Pushed::Queued, Pushed::Dropped);
        assert_eq!(pushed, [decisive, queued, decisive, queued, dropped, dropped]);
        let (_, batch) = out.take(Duration::ZERO, &BOUNDS);
        let mut told = Vec::new();
        Frame::Dropped(2).encode(&mut told);
        assert!(batch.starts_with(&told));
        assert_eq!((out.dropped(), out.depth()), (2, (1, 1)));
    }

    #[test]
    fn a_frame_larger_than_the_queue_passes_alone() {
        let mut out = Outgoing::default();
        assert_eq!(append(&mut out, &[0; 500], &BOUNDS), Pushed::Decisive);
        assert_eq!(push(&mut out, 1), Pushed::Dropped);
    }

    #[test]
    fn frames_of_the_mesh_go_before_events_and_a_batch_stays_small() {
        let mut out = Outgoing::default();
        let bounds = Bounds { queue_bytes: 10 * BATCH_BYTES, ..BOUNDS };
        for n in 0..2 {
            append(&mut out, &vec![n; BATCH_BYTES], &bounds);
        }
        out.push_control(frame(9), 1, &bounds);
        let (_, batch) = out.take(Duration::ZERO, &bounds);
        assert_eq!((batch.len(), batch[0], batch[10]), (BATCH_BYTES + 10, 9, 0));
        for n in 0..2 {
            out.push_control(vec![n; BATCH_BYTES].into(), 2, &bounds);
        }
        append(&mut out, &vec![3; BATCH_BYTES], &bounds);
        let batches: Vec<_> = (0..3).map(|_| out.take(Duration::ZERO, &bounds).1.len()).collect();
        assert_eq!(batches, [2 * BATCH_BYTES, 2 * BATCH_BYTES, 0]);
    }
}
