//! Filling in what passed a log by, when others have kept it.

use super::{
    recent::Recent,
    record,
    segment::Segment,
    topic_log::{Feed, Position, SEGMENT_BYTES_MAX, TopicLog},
};
use crate::event::{Cursor, EventId, cursor::CURSOR_BYTES_MAX, frame};

/// An event without its place in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub id: EventId,
    /// Its block without the id line.
    pub after_id: Vec<u8>,
}

/// What filling in did to memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Where the segments begin that were made, and what they cost, in bytes.
    pub allocated: Vec<(u64, u64)>,
    /// Bytes of those that went.
    pub freed: u64,
    /// What is to be appended instead, because readers that are in the log have not got it.
    pub news: Vec<Kept>,
}

// === impl TopicLog ===

impl TopicLog {
    /// Puts what others kept before the [seam](Self::interrupted), in the order of ids, together with what was there. From
    /// then on everything above `floor` is here, as long as the log is fed as `feed` says. Readers that are in the log keep their places. Does nothing if it has
    /// been done, or if events of after the seam are gone already.
    ///
    /// Where somebody reads the log, what is above `news` may be on its way to it.
    pub fn fill(&mut self, mut kept: Vec<Kept>, floor: EventId, feed: Feed, news: Option<EventId>) -> Filled {
        if !self.can_fill() {
            return Filled::default();
        }
        self.filled = true;
        kept.sort_unstable_by_key(|event| event.id);
        kept.dedup_by_key(|event| event.id);
        kept.retain(|event| !self.contains(&event.id));
        // What was here before the seam is no news: whoever reads the log came after that.
        let news = news.map(|above| self.take_news(&mut kept, above)).unwrap_or_default();
        kept.extend(self.before_seam());
        let gone = self.drop_before_seam();
        kept.sort_unstable_by_key(|event| event.id);
        self.floor = self.floor.min(floor);
        self.feed = feed;
        self.dropped = (self.floor > EventId::default()).then_some(self.floor);
        self.highest = self.highest.max(kept.last().map(|event| event.id));
        let allocated = self.prepend(&kept);
        self.recent = Recent::default();
        for id in self.ids(Position::MIN) {
            self.recent.note(&id);
        }
        Filled { allocated, freed: gone, news }
    }

    /// What came to others since this log is fed, and has not come here yet. Put in before the seam it would pass by those who
    /// read. Those of one origin come in order, so what is older than one that came was not to come.
    fn take_news(&self, kept: &mut Vec<Kept>, above: EventId) -> Vec<Kept> {
        let live = self.ids(self.seam);
        let first_of = |origin| live.iter().copied().filter(|id| id.origin == origin).min();
        let is_news = |event: &mut Kept| event.id > first_of(event.id.origin).unwrap_or(above);
        kept.extract_if(.., is_news).collect()
    }

    /// All events that are here, in their order.
    pub fn kept(&self) -> Vec<Kept> {
        self.read(Position::MAX)
    }

    fn before_seam(&self) -> Vec<Kept> {
        self.read(self.seam)
    }

    fn read(&self, end: Position) -> Vec<Kept> {
        let view = self.view(Position::MIN).until(end);
        let mut kept = Vec::new();
        for slice in &view.slices {
            let bytes = slice.bytes();
            kept.extend(record::records(bytes, 0).map(|record| {
                let after_id = record.after_id(bytes).to_vec();
                Kept { id: record.id(bytes), after_id }
            }));
        }
        kept
    }

    fn drop_before_seam(&mut self) -> u64 {
        let mut freed = 0;
        while self.segments.front().is_some_and(|front| front.base < self.seam) {
            freed += self.segments.pop_front().map_or(0, |segment| segment.cost());
        }
        freed
    }

    /// Makes segments that end at the seam.
    fn prepend(&mut self, kept: &[Kept]) -> Vec<(u64, u64)> {
        let mut recent = Recent::default();
        let chunks: Vec<_> =
            kept.iter().map(|event| (event.id, event.chunk(&recent.note(&event.id)))).collect();
        let bytes: usize = chunks.iter().map(|(_, chunk)| chunk.len()).sum();
        let mut at =
            Position { offset: self.seam.offset - bytes as u64, seq: self.seam.seq - chunks.len() as u64 };
        self.tail = at;
        let (mut made, mut left) = (Vec::new(), &chunks[..]);
        while let Some((_, first)) = left.first() {
            let mut size = 0;
            let fits = |(_, chunk): &&(EventId, Vec<u8>)| {
                size += chunk.len();
                size <= SEGMENT_BYTES_MAX.max(first.len())
            };
            let (now, later) = left.split_at(left.iter().take_while(fits).count());
            let (segment, end) = segment_of(at, now);
            made.push(segment);
            (at, left) = (end, later);
        }
        let allocated = made.iter().map(|segment| (segment.base.offset, segment.cost())).collect();
        made.into_iter().rev().for_each(|segment| self.segments.push_front(segment));
        allocated
    }
}

impl Kept {
    /// The event as a reader gets it who has come so far with it.
    pub(super) fn chunk(&self, cursor: &Cursor) -> Vec<u8> {
        record::chunked(&self.frame(cursor))
    }

    /// Its event-stream block, with its id line.
    pub fn frame(&self, cursor: &Cursor) -> Vec<u8> {
        let mut block = Vec::with_capacity(self.after_id.len() + CURSOR_BYTES_MAX + 8);
        frame::write_id(cursor, &mut block);
        block.extend_from_slice(&self.after_id);
        block
    }
}

/// A segment that begins at `base` and is full, and where it ends.
fn segment_of(base: Position, chunks: &[(EventId, Vec<u8>)]) -> (Segment, Position) {
    let bytes: usize = chunks.iter().map(|(_, chunk)| chunk.len()).sum();
    let (mut segment, mut writer) = Segment::new(base, bytes);
    for (id, chunk) in chunks {
        let fits = writer.append(&[chunk]);
        debug_assert!(fits, "the segment was made for them");
        segment.note(*id);
    }
    (segment, Position { offset: base.offset + bytes as u64, seq: base.seq + chunks.len() as u64 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{event::Origin, log::Bounds};

    fn kept(ms: u64) -> Kept {
        let id = EventId { ms, counter: 0, origin: Origin(1) };
        Kept { id, after_id: format!("data: {ms}\n\n").into_bytes() }
    }

    fn append(log: &mut TopicLog, ms: u64) {
        let event = kept(ms);
        log.append(&event.id, &event.after_id);
    }

    fn times(events: &[Kept]) -> Vec<u64> {
        events.iter().map(|event| event.id.ms).collect()
    }

    #[test]
    fn what_passed_by_comes_before_what_was_read() {
        let mut log = TopicLog::default();
        append(&mut log, 3);
        log.interrupted(EventId::at(5));
        let reader = log.head();
        append(&mut log, 6);
        assert!(!log.after(&EventId::at(4)).1 && log.can_fill());
        let filled = log.fill([6, 4, 2, 3].map(kept).into(), EventId::at(2), Feed::Wanted, None);
        assert_eq!((filled.allocated.len(), filled.freed > 0), (1, true));
        assert_eq!(times(&log.kept()), [2, 3, 4, 6]);
        assert_eq!(log.view(reader).head.seq - reader.seq, 1, "the reader is where it was");
        assert_eq!(log.after(&kept(3).id), (log.nth(log.tail().seq + 2), true));
        assert!(!log.after(&EventId::at(1)).1);
        assert_eq!(
            log.fill(vec![kept(1)], EventId::at(0), Feed::Wanted, None),
            Filled::default(),
            "it is read by now"
        );
    }

    #[test]
    fn what_was_filled_in_is_here() {
        let mut log = TopicLog::default();
        log.fill([3, 4].map(kept).into(), EventId::default(), Feed::Wanted, None);
        assert!(log.contains(&kept(4).id), "it is not to be appended again when it comes late");
        assert!(!log.contains(&kept(5).id));
    }

    #[test]
    fn what_somebody_reads_keeps_its_order_and_place() {
        let mut log = TopicLog::default();
        // In the order in which they came, which is not that of their ids.
        let other = Kept { id: EventId { origin: Origin(2), ..kept(2).id }, ..kept(2) };
        append(&mut log, 3);
        log.append(&other.id, &other.after_id);
        log.interrupted(EventId::at(2));
        let (reader, _) = log.after(&kept(3).id);
        log.entered(reader);
        let unread = |log: &TopicLog| log.view(reader).parts().concat();
        let before = unread(&log);
        log.fill([1, 2].map(kept).into(), EventId::default(), Feed::Wanted, None);
        assert_eq!(times(&log.kept()), [1, 2, 3, 2]);
        assert_eq!(unread(&log), before);
    }

    #[test]
    fn what_is_gone_beyond_the_seam_is_not_filled_in() {
        let mut log = TopicLog::default();
        log.interrupted(EventId::at(5));
        for ms in [6, 7] {
            append(&mut log, ms);
        }
        log.trim(&Bounds { events: 1, bytes: u64::MAX, age_ms: u64::MAX }, 0);
        assert_eq!(log.fill(vec![kept(4)], EventId::default(), Feed::Wanted, None), Filled::default());
        assert_eq!(times(&log.kept()), [7]);
    }

    proptest! {
        /// However the events are spread over what was here, what is kept and what came live, all are there once, and
        /// every place is found.
        #[test]
        fn nothing_is_lost_or_repeated(
            places in prop::collection::vec((any::<bool>(), any::<bool>()), 1..60),
            seam in 0_usize..60,
            sizes in prop::collection::vec(prop_oneof![0_usize..50, 20_000_usize..70_000], 60),
        ) {
            let event = |n: usize| Kept { after_id: format!("data: {}\n\n", "x".repeat(sizes[n])).into_bytes(), ..kept(n as u64 + 1) };
            let seam = seam.min(places.len());
            let mut log = TopicLog::default();
            for n in (0..seam).filter(|n| places[*n].0) {
                log.append(&event(n).id, &event(n).after_id);
            }
            log.interrupted(EventId::at(seam as u64 + 1));
            let reader = log.head();
            for n in seam..places.len() {
                log.append(&event(n).id, &event(n).after_id);
            }
            let others: Vec<_> = (0..places.len()).filter(|n| places[*n].1 || !places[*n].0).map(event).collect();
            log.fill(others, EventId::default(), Feed::Wanted, None);
            let all: Vec<_> = (0..places.len()).map(event).collect();
            prop_assert_eq!(log.kept(), all);
            prop_assert_eq!(log.view(reader).head.seq - reader.seq, (places.len() - seam) as u64);
            for n in 0..places.len() {
                prop_assert_eq!(log.after(&event(n).id), (log.nth(log.tail().seq + n as u64 + 1), true));
            }
        }
    }
}
