use proptest::prelude::*;

use super::*;

fn parse(stream: &[u8]) -> Vec<Event> {
    Parser::new().feed(stream).unwrap()
}

fn event(id: &str, event: &str, data: &str) -> Event {
    Event { id: id.to_owned(), event: event.to_owned(), data: data.to_owned() }
}

fn message(data: &str) -> Event {
    event("", "message", data)
}

#[test]
fn the_examples_of_the_standard() {
    let stocks = b"data: YHOO\ndata: +2\ndata: 10\n\n";
    assert_eq!(parse(stocks), [message("YHOO\n+2\n10")]);

    let four = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n";
    assert_eq!(parse(four), [event("1", "message", "first event"), message("second event")]);

    let empties = b"data\n\ndata\ndata\n\ndata:";
    assert_eq!(parse(empties), [message(""), message("\n")]);

    assert_eq!(parse(b"data:test\n\ndata: test\n\n"), [message("test"), message("test")]);
}

#[test]
fn line_ends_are_cr_lf_or_both() {
    let wanted = [message("a\nb"), message("c")];
    for stream in [
        "data:a\ndata:b\n\ndata:c\n\n",
        "data:a\rdata:b\r\rdata:c\r\r",
        "data:a\r\ndata:b\r\n\r\ndata:c\r\n\r\n",
    ] {
        assert_eq!(parse(stream.as_bytes()), wanted, "{stream:?}");
    }
    assert_eq!(parse(b"data:a\n\rdata:b\r\n\r\n"), [message("a"), message("b")]);
}

#[test]
fn a_pair_split_between_chunks_is_one_line_end() {
    let mut parser = Parser::new();
    assert_eq!(parser.feed(b"data:a\r").unwrap(), []);
    assert_eq!(parser.feed(b"").unwrap(), []);
    assert_eq!(parser.feed(b"\ndata:b\r").unwrap(), []);
    assert_eq!(parser.feed(b"\n\r").unwrap(), [message("a\nb")]);
    assert_eq!(parser.feed(b"\n").unwrap(), []);
}

#[test]
fn one_byte_order_mark_is_skipped_and_only_at_the_start() {
    assert_eq!(parse(b"\xef\xbb\xbfdata:a\n\n"), [message("a")]);
    assert_eq!(parse(b"\xef\xbb\xbf\xef\xbb\xbfdata:a\n\n"), []);
    assert_eq!(parse(b"data:a\n\xef\xbb\xbfdata:b\n\n"), [message("a")]);
    assert_eq!(parse(b"\xef\xbbdata:a\n\ndata:b\n\n"), [message("b")]);
    assert_eq!(parse(b"\xef\xbb\xbf\n\ndata:b\n\n"), [message("b")]);
}

#[test]
fn fields_are_told_apart_exactly() {
    assert_eq!(parse(b"Data:a\ndata :b\n data:c\nfoo:d\n\n"), []);
    assert_eq!(parse(b"data:  a \n\n"), [message(" a ")]);
    assert_eq!(parse(b"data:\ta:b\n\n"), [message("\ta:b")]);
    assert_eq!(parse(b":data:a\n:\n\n"), []);
    assert_eq!(parse(b"event:x\ndata:a\n\ndata:b\n\n"), [event("", "x", "a"), message("b")]);
    assert_eq!(parse(b"event:x\nevent:\ndata:a\n\n"), [message("a")]);
    assert_eq!(parse(b"event:x\n\ndata:a\n\n"), [message("a")]);
    assert_eq!(parse(b"data:a\0b\n\n"), [message("a\0b")]);
}

#[test]
fn invalid_bytes_become_replacement_characters() {
    assert_eq!(parse(b"data:\xff\xe2\x82\n\n"), [message("\u{fffd}\u{fffd}")]);
}

#[test]
fn an_id_stays_until_another_one_comes() {
    let mut parser = Parser::new();
    let events = parser.feed(b"id:1\ndata:a\n\ndata:b\n\nid:2\0\ndata:c\n\nid\ndata:d\n\n").unwrap();
    let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["1", "1", "1", ""]);
}

#[test]
fn the_last_event_id_changes_at_the_end_of_an_event() {
    let mut parser = Parser::new();
    parser.feed(b"id:7\n").unwrap();
    assert_eq!(parser.last_event_id(), "");
    assert_eq!(parser.feed(b"\n").unwrap(), []);
    assert_eq!(parser.last_event_id(), "7");
}

#[test]
fn a_resumed_stream_keeps_its_id() {
    let mut parser = Parser::with_last_event_id("7".to_owned());
    assert_eq!(parser.feed(b"data:a\n\n").unwrap(), [event("7", "message", "a")]);
    assert_eq!(parser.last_event_id(), "7");
}

#[test]
fn a_reconnection_time_is_made_of_digits() {
    for (stream, wanted) in [
        ("retry:3000\n", Some(3000)),
        ("retry: 3000\n", Some(3000)),
        ("retry:007\n", Some(7)),
        ("retry:1000\nretry:+5\nretry:5 \nretry:5ms\nretry:-1\nretry:\nretry\nretry:1.5\n", Some(1000)),
        ("retry:\u{0663}\n", None),
        ("retry:99999999999999999999999\n", Some(u64::MAX)),
        ("retry:3000", None),
    ] {
        let mut parser = Parser::new();
        parser.feed(stream.as_bytes()).unwrap();
        assert_eq!(parser.retry(), wanted, "{stream:?}");
    }
}

#[test]
fn an_event_that_never_ends_is_given_up() {
    let small = || Parser::new().with_limit(10);
    assert_eq!(small().feed(&[b'x'; 11]), Err(TooLong { limit: 10 }));
    let mut parser = small();
    assert!(parser.feed(b"data:abcd\n").is_ok());
    assert!(parser.feed(b"data:abc\n").is_ok());
    assert_eq!(parser.feed(b"data:abc\n"), Err(TooLong { limit: 10 }));
    let mut parser = small();
    for _ in 0..100 {
        assert!(parser.feed(b"data:abc\n\n").is_ok());
    }
}

/// Bytes that are rich in what the grammar cares about.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"data".to_vec()),
        Just(b"event".to_vec()),
        Just(b"id".to_vec()),
        Just(b"retry".to_vec()),
        Just(b":".to_vec()),
        Just(b" ".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(BOM.to_vec()),
        Just(b"\0".to_vec()),
        Just("é€".as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    (any::<bool>(), proptest::collection::vec(piece, 0..60)).prop_map(|(has_mark, pieces)| {
        let start = if has_mark { BOM.to_vec() } else { Vec::new() };
        [start, pieces.concat()].concat()
    })
}

/// The standard's algorithm as it is written: on the decoded text of the whole stream.
fn reference(stream: &[u8]) -> (Vec<Event>, String, Option<u64>) {
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut data, mut kind) = (Vec::new(), String::new(), String::new());
    let (mut id_buffer, mut last_id, mut retry) = (String::new(), String::new(), None);
    // What follows the last line end is not a line.
    let Some((lines, _)) = text.rsplit_once('\n') else { return (events, last_id, retry) };
    for line in lines.split('\n') {
        if line.is_empty() {
            last_id.clone_from(&id_buffer);
            if !data.is_empty() {
                data.pop();
                let name = if kind.is_empty() { "message" } else { &kind };
                events.push(event(&last_id, name, &data));
            }
            data.clear();
            kind.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => data.extend([value, "\n"]),
            "event" => value.clone_into(&mut kind),
            "id" if !value.contains('\0') => value.clone_into(&mut id_buffer),
            "retry" if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()) => {
                retry = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }
    (events, last_id, retry)
}

proptest! {
    #[test]
    fn any_split_gives_what_the_standard_says(
        stream in stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut parser = Parser::new();
        let mut events = Vec::new();
        for cut in cuts.windows(2) {
            events.extend(parser.feed(&stream[cut[0]..cut[1]]).unwrap());
        }
        let (wanted, last_id, retry) = reference(&stream);
        prop_assert_eq!(events, wanted);
        prop_assert_eq!(parser.last_event_id(), last_id);
        prop_assert_eq!(parser.retry(), retry);
    }
}
