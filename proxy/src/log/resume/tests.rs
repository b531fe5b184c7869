use proptest::prelude::*;

use super::*;
use crate::event::Origin;

fn id(ms: u64, origin: u32) -> EventId {
    EventId { ms, counter: 0, origin: Origin(origin) }
}

fn append(log: &mut TopicLog, id: EventId) {
    log.append(&id, format!("data: {}\n\n", id.ms).as_bytes());
}

fn log_of(ids: &[EventId]) -> TopicLog {
    let mut log = TopicLog::default();
    for id in ids {
        append(&mut log, *id);
    }
    log
}

/// What a reader that resumes gets at once, and the cursor that it has then.
fn gets(log: &TopicLog, cursor: Cursor) -> (Vec<EventId>, Cursor) {
    let resumed = log.resume(&cursor);
    assert!(resumed.complete, "{resumed:?}");
    let text = String::from_utf8(resumed.first).unwrap();
    let first: Vec<Cursor> =
        text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect();
    let view = log.view(resumed.position);
    let mut cursors = first;
    for slice in &view.slices {
        cursors.extend(record::records(slice.bytes(), 0).map(|record| record.cursor(slice.bytes())));
    }
    let last = cursors.last().copied().unwrap_or(cursor);
    (cursors.into_iter().map(|cursor| cursor.id).collect(), last)
}

#[test]
fn an_event_that_stands_before_the_named_one_here_is_not_missed() {
    let (a, b, c) = (id(1_000, 1), id(1_001, 2), id(1_002, 2));
    let here = log_of(&[b, a, c]);
    let there = log_of(&[a]);
    let seen = there.cursor_at(there.head()).unwrap();
    assert_eq!(gets(&here, seen).0, [b, c]);
}

#[test]
fn an_event_that_stands_after_the_named_one_here_is_not_repeated() {
    let (a, b, c) = (id(1_000, 1), id(1_001, 2), id(1_002, 2));
    let here = log_of(&[b, a, c]);
    let there = log_of(&[a, b]);
    let seen = there.cursor_at(there.head()).unwrap();
    assert_eq!(gets(&here, seen).0, [c]);
}

#[test]
fn what_cannot_be_explained_is_sent_again() {
    let ids: Vec<_> = (0..50).map(|n| id(10_000 + n, 1 + u32::try_from(n % 3).unwrap())).collect();
    let log = log_of(&ids);
    let named = Cursor { others: crate::event::Digest(0x1234_5678), id: ids[30] };
    let resumed = log.resume(&named);
    assert_eq!(resumed.reordered, Some(Reordered::Again));
    let (got, _) = gets(&log, named);
    assert!(ids.iter().filter(|id| id.origin != ids[30].origin || **id > ids[30]).all(|id| got.contains(id)));
}

/// The same events in another order, those of each origin in theirs, none moved by more than a few places.
fn reordered(ids: &[EventId], moves: &[u8]) -> Vec<EventId> {
    let mut ids = ids.to_vec();
    for at in 1..ids.len() {
        let mut at = at;
        for _ in 0..moves[at % moves.len()] % 4 {
            if at > 0 && ids[at - 1].origin != ids[at].origin {
                ids.swap(at - 1, at);
                at -= 1;
            }
        }
    }
    ids
}

proptest! {
    /// Whoever goes from log to log, after any number of events in each, sees every event once.
    #[test]
    fn a_reader_that_moves_sees_everything_once(
        events in prop::collection::vec((0_u64..400, 1_u32..4), 1..60),
        moves in prop::collection::vec(prop::collection::vec(any::<u8>(), 7), 3),
        stays in prop::collection::vec(0_usize..12, 1..10),
    ) {
        let mut now = 100_000;
        let mut ids = Vec::new();
        for (step, origin) in events {
            now += step + 1;
            ids.push(id(now, origin));
        }
        let logs: Vec<_> = moves.iter().map(|moves| log_of(&reordered(&ids, moves))).collect();
        let mut cursor = Cursor::from(id(1, 9));
        let mut seen: Vec<EventId> = Vec::new();
        for (turn, stay) in stays.iter().enumerate() {
            let log = &logs[turn % logs.len()];
            let resumed = log.resume(&cursor);
            prop_assert_ne!(resumed.reordered, Some(Reordered::Again));
            let (got, _) = gets(log, cursor);
            let text = String::from_utf8(resumed.first).unwrap();
            let first: Vec<Cursor> =
                text.lines().filter_map(|l| l.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect();
            let stay = (*stay).min(got.len());
            seen.extend(&got[..stay]);
            if stay > 0 {
                cursor = match first.get(stay - 1) {
                    Some(cursor) => *cursor,
                    None => log.cursor_at(log.nth(resumed.position.seq + (stay - first.len()) as u64)).unwrap(),
                };
            }
        }
        seen.extend(gets(&logs[0], cursor).0);
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, ids);
    }
}
