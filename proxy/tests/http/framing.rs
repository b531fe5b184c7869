//! From an event through the log and its chunks to a client: whatever goes in comes out, and nothing else.

use proptest::{collection::vec, prelude::*};
use revenprox_proxy::{
    client::parser::Parser,
    event::{Clock, Event, EventId, Origin},
    log::{Position, TopicLog, record::records},
};

use crate::support::stream::dechunk;

/// Text that is rich in what event streams and chunks are made of.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("\0".to_owned()),
        Just(" ".to_owned()),
        Just(":".to_owned()),
        Just("data: x".to_owned()),
        Just("id: 1-001-00000000".to_owned()),
        Just("event: forged".to_owned()),
        Just("retry: 1".to_owned()),
        Just("0\r\n\r\n".to_owned()),
        Just("\u{2028}\u{2029}\u{85}\u{b}\u{c}".to_owned()),
        any::<String>(),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn name() -> impl Strategy<Value = Option<String>> {
    let valid =
        |name: &String| name.len() <= 255 && !name.contains(['\r', '\n']) && !name.starts_with("revenprox-");
    prop::option::of(text().prop_map(|name| name.replace(['\r', '\n'], "")).prop_filter("valid", valid))
}

/// What a reader sees of a payload: every line end is a line feed.
fn normalised(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

/// The log of some events, with their ids.
fn log_of(events: &[(Option<String>, String, Option<u32>)]) -> (TopicLog, Vec<EventId>) {
    let clock = Clock::new(Origin(0xfeed));
    let mut log = TopicLog::default();
    let ids = events.iter().map(|(name, data, retry)| {
        let mut block = Vec::new();
        Event::new(name.as_deref(), data, *retry).unwrap().write_after_id(&mut block);
        let id = clock.next(1_700_000_000_000);
        log.append(&id, &block);
        id
    });
    let ids = ids.collect();
    (log, ids)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn events_come_out_as_they_went_in(
        events in vec((name(), text(), prop::option::of(any::<u32>())), 1..8),
        read_size in 1..200_usize,
    ) {
        let (log, ids) = log_of(&events);
        let view = log.view(Position::default());
        let bytes = view.parts().concat();
        let mut text = Vec::new();
        prop_assert_eq!(dechunk(&bytes, &mut text), (bytes.len(), false));
        let mut parser = Parser::new();
        let mut read = Vec::new();
        for part in text.chunks(read_size) {
            read.extend(parser.feed(part).unwrap());
        }
        prop_assert_eq!(read.len(), events.len());
        for ((event, id), (name, data, _)) in read.iter().zip(&ids).zip(&events) {
            let name = name.as_deref().filter(|name| !name.is_empty()).unwrap_or("message");
            prop_assert_eq!(&event.id, &id.to_string());
            prop_assert_eq!(&event.event, name);
            prop_assert_eq!(&event.data, &normalised(data));
        }
        let retry = events.iter().rev().find_map(|(.., retry)| *retry);
        prop_assert_eq!(parser.retry(), retry.map(u64::from));
    }

    #[test]
    fn the_frames_between_are_the_same_text(events in vec((name(), text(), Just(None)), 1..8)) {
        let (log, _) = log_of(&events);
        let bytes = log.view(Position::default()).parts().concat();
        let mut text = Vec::new();
        dechunk(&bytes, &mut text);
        let frames: Vec<u8> =
            records(&bytes, 0).flat_map(|record| bytes[record.frame].to_vec()).collect();
        prop_assert_eq!(frames, text);
    }

    #[test]
    fn a_reader_may_begin_behind_any_event(events in vec((name(), text(), Just(None)), 1..8), skip in 0..8_usize) {
        let (log, ids) = log_of(&events);
        let skip = skip % events.len();
        let (position, complete) = log.after(&ids[skip]);
        prop_assert!(complete);
        let bytes = log.view(position).parts().concat();
        let mut text = Vec::new();
        dechunk(&bytes, &mut text);
        let read = Parser::new().feed(&text).unwrap();
        let wanted: Vec<_> = ids[skip + 1..].iter().map(ToString::to_string).collect();
        prop_assert_eq!(read.into_iter().map(|event| event.id).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn no_name_adds_a_field(name in text()) {
        if let Ok(event) = Event::new(Some(&name), "data", None) {
            let mut block = Vec::new();
            event.write_after_id(&mut block);
            let read = Parser::new().feed(&block).unwrap();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(&read[0].data, "data");
            prop_assert!(read[0].id.is_empty());
        }
    }
}
