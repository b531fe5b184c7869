//! Beginning in the past: by the last id, by time, and what is told where the past is gone.

use std::time::Duration;

use revenprox_proxy::client::parser::Event;
use serde_json::{Value, json};

use crate::support::{Proxy, Stream};

fn publish_many(proxy: &Proxy, topic: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| proxy.publish(topic, &n.to_string())).collect()
}

fn data_of(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

/// Reads the gap that a stream has to begin with.
fn gap(stream: &mut Stream) -> (Event, Value) {
    let event = stream.next().unwrap();
    assert_eq!(event.event, "revenprox-gap");
    let data = data_of(&event);
    (event, data)
}

#[test]
fn the_last_id_may_be_named_in_three_ways() {
    let proxy = Proxy::start("");
    let ids = publish_many(&proxy, "a", 5);
    for (path, header) in [
        ("/events/a".to_owned(), format!("last-event-id: {}\r\n", ids[1])),
        (format!("/events/a?lastEventId={}", ids[1]), String::new()),
        (format!("/events/a?last_event_id={}", ids[1]), String::new()),
        // The header is what an EventSource knows now; the query is what it was made with.
        (
            format!("/events/a?lastEventId={}&since=earliest", ids[3]),
            format!("last-event-id: {}\r\n", ids[1]),
        ),
    ] {
        let mut stream = proxy.subscribe(&path, &header);
        assert_eq!(stream.take_data(3), ["2", "3", "4"], "{path}");
        assert_eq!(stream.last_event_id(), ids[4]);
    }
    let mut live = proxy.subscribe("/events/a", &format!("last-event-id: {}\r\n", ids[4]));
    proxy.publish("a", "next");
    assert_eq!(live.next_data(), "next");
}

#[test]
fn an_id_is_a_position_in_every_topic() {
    let proxy = Proxy::start("");
    let ids: Vec<_> = (0..12).map(|n| proxy.publish(["a", "b", "c"][n % 3], &n.to_string())).collect();
    let header = format!("last-event-id: {}\r\n", ids[4]);
    let mut all = proxy.subscribe("/events?topic=a&topic=b&topic=c", &header);
    assert_eq!(all.take_data(7), ["5", "6", "7", "8", "9", "10", "11"]);
    // The id of an event of one topic is a position in another.
    let mut other = proxy.subscribe("/events/c", &header);
    assert_eq!(other.take_data(3), ["5", "8", "11"]);
}

#[test]
fn an_unknown_id_is_a_gap_that_heals() {
    let proxy = Proxy::start("");
    let ids = publish_many(&proxy, "a", 3);
    let foreign = ids[0].replace(&ids[0][ids[0].len() - 8..], "0badf00d");
    for requested in ["nonsense", "123", foreign.as_str()] {
        let mut stream = proxy.subscribe("/events/a", &format!("last-event-id: {requested}\r\n"));
        let (event, data) = gap(&mut stream);
        assert_eq!(data["reason"], "unknown", "{requested}");
        assert_eq!((&data["topic"], &data["requested"]), (&json!("a"), &json!(requested)));
        assert_eq!(data["oldest"], json!(ids[0]));
        // The gap has an id of its own, from which a resume is exact: it gives what this stream gives.
        let next = proxy.publish("a", "next");
        let ids_up_to_next = |stream: &mut Stream| {
            let mut ids = Vec::new();
            while ids.last() != Some(&next) {
                let event = stream.next().unwrap();
                assert_eq!(event.event, "message");
                ids.push(event.id);
            }
            ids
        };
        let mut again = proxy.subscribe("/events/a", &format!("last-event-id: {}\r\n", event.id));
        assert_eq!(ids_up_to_next(&mut again), ids_up_to_next(&mut stream), "{requested}");
    }
}

#[test]
fn an_expired_id_is_a_gap_and_then_what_is_left() {
    let proxy = Proxy::start("[history]\nmax_events_per_topic = 5\n");
    let ids = publish_many(&proxy, "a", 20);
    let mut stream = proxy.subscribe("/events/a", &format!("last-event-id: {}\r\n", ids[3]));
    let (_, data) = gap(&mut stream);
    assert_eq!(data, json!({"topic": "a", "requested": ids[3], "oldest": ids[15], "reason": "expired"}));
    assert_eq!(stream.take_data(5), ["15", "16", "17", "18", "19"]);
    // The one just before the oldest is exact.
    let mut exact = proxy.subscribe("/events/a", &format!("last-event-id: {}\r\n", ids[14]));
    assert_eq!(exact.take_data(5), ["15", "16", "17", "18", "19"]);
}

#[test]
fn what_is_no_id_is_a_gap_even_where_there_are_no_events() {
    let proxy = Proxy::start("");
    let mut stream = proxy.subscribe("/events/empty", "last-event-id: nonsense\r\n");
    let (_, data) = gap(&mut stream);
    let wanted = json!({"topic": "empty", "requested": "nonsense", "oldest": null, "reason": "unknown"});
    assert_eq!(data, wanted);
    proxy.publish("empty", "next");
    assert_eq!(stream.next_data(), "next");
}

#[test]
fn each_topic_has_its_own_gap() {
    let proxy = Proxy::start("[history]\nmax_events_per_topic = 5\n");
    let few = publish_many(&proxy, "few", 2);
    publish_many(&proxy, "many", 20);
    let path = "/events?topic=few&topic=many";
    let mut stream = proxy.subscribe(path, &format!("last-event-id: {}\r\n", few[0]));
    let (event, data) = gap(&mut stream);
    assert_eq!((event.id.as_str(), &data["topic"], &data["reason"]), ("", &json!("many"), &json!("expired")));
    assert_eq!(stream.take_data(6), ["1", "15", "16", "17", "18", "19"]);
}

#[test]
fn without_history_there_is_none() {
    let proxy = Proxy::start("[history]\nmax_events_per_topic = 0\n");
    let id = proxy.publish("a", "gone");
    let mut stream = proxy.subscribe("/events/a?since=earliest", "");
    proxy.publish("a", "live");
    assert_eq!(stream.next_data(), "live");
    let next = proxy.publish("a", "more");
    assert!(next > id);
}

#[test]
fn a_first_visit_may_look_back() {
    let proxy = Proxy::start("");
    publish_many(&proxy, "a", 3);
    // Long enough that a millisecond tells the two apart.
    let between = revenprox_proxy::hub::now_ms() + 2;
    crate::support::wait_until("the clock", || revenprox_proxy::hub::now_ms() > between + 1);
    let stamp = jiff::Timestamp::from_millisecond(i64::try_from(between).unwrap()).unwrap();
    proxy.publish("a", "3");
    for (since, first) in
        [("earliest", "0"), ("1h", "0"), ("2000-01-01T00:00:00Z", "0"), (stamp.to_string().as_str(), "3")]
    {
        let mut stream = proxy.subscribe(&format!("/events/a?since={since}"), "");
        assert_eq!(stream.next_data(), first, "{since}");
    }
    // A URL that is refused at a first visit is refused when it comes back too.
    for (since, header) in [("", ""), ("soon", ""), ("soon", "last-event-id: 1703894400000-001-5e0c91aa\r\n")]
    {
        assert_eq!(proxy.get(&format!("/events/a?since={since}"), header).status, 400, "{since} {header}");
    }
    let mut future = proxy.subscribe("/events/a?since=2100-01-01T00:00:00Z", "");
    proxy.publish("a", "now");
    assert_eq!(future.next_data(), "now");
}

#[test]
fn what_is_too_old_is_dropped() {
    let proxy = Proxy::start("[history]\nmax_age_sec = 1\n");
    // Somebody who listens keeps the topic, and with it the knowledge of what was dropped.
    let _listener = proxy.subscribe("/events/a", "");
    let old = proxy.publish("a", "old");
    let deadline = revenprox_proxy::hub::now_ms() + 1_200;
    crate::support::wait_until("the event to be old", || {
        std::thread::sleep(Duration::from_millis(20));
        revenprox_proxy::hub::now_ms() > deadline
    });
    proxy.publish("a", "new");
    let mut stream = proxy.subscribe("/events/a?since=earliest", "");
    assert_eq!(stream.next_data(), "new");
    let mut exact = proxy.subscribe("/events/a", &format!("last-event-id: {old}\r\n"));
    assert_eq!(exact.next_data(), "new");
}
