//! The seam between replay and live delivery: clients that connect, vanish and resume at random while events are
//! published get each event once and in order.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Proxy, Stream};

const PUBLISHERS: usize = 4;
const EVENTS: usize = 400;
const SUBSCRIBERS: usize = 8;

/// Publishes on one connection, as fast as answers come, to the topics in turn.
fn publish(proxy: &Proxy, publisher: usize, topics: &[&str]) -> Vec<String> {
    let mut client = Client::connect(proxy.address);
    let mut ids = Vec::with_capacity(EVENTS);
    for n in 0..EVENTS {
        let (topic, data) = (topics[n % topics.len()], format!("{publisher} {n}"));
        let request = format!(
            "POST /events/{topic} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{data}",
            data.len()
        );
        client.send(request.as_bytes());
        let response = client.response();
        assert_eq!(response.status, 202, "{response:?}");
        ids.push(response.json()["id"].as_str().unwrap().to_owned());
    }
    ids
}

/// Reads until there are `count` events, over as many connections as it takes, each dropped after a few.
fn subscribe(
    proxy: &Proxy,
    request: &str,
    first: Stream,
    count: usize,
    seed: usize,
) -> Vec<(String, String)> {
    let mut events: Vec<(String, String)> = Vec::new();
    let (mut stream, mut connections) = (first, 1);
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        // Anything from one event to a few dozen, different for each subscriber and connection.
        let stay = 1 + (seed * 31 + connections * 17) % 43;
        for _ in 0..stay {
            assert!(Instant::now() < deadline, "{} of {count} events", events.len());
            let event = stream.next().expect("the stream goes on");
            assert_eq!(event.event, "message", "{event:?}");
            events.push((event.id, event.data));
            if events.len() == count {
                return events;
            }
        }
        // Whatever is read and not yet used is lost with the connection, as in a browser tab that sleeps.
        let id = &events.last().unwrap().0;
        stream = connect(proxy, request, &format!("last-event-id: {id}\r\n"));
        connections += 1;
    }
}

fn connect(proxy: &Proxy, request: &str, headers: &str) -> Stream {
    let mut client = proxy.client();
    client.send(format!("{request}\r\nhost: x\r\n{headers}\r\n").as_bytes());
    Stream::begin(client)
}

fn play(topics: &[&str], request: &str) {
    let proxy = Proxy::start("[history]\nmax_events_per_topic = 100000\nmax_bytes_per_topic = 10000000\n");
    let total = PUBLISHERS * EVENTS;
    // All are there before the first event, so all have to get every one.
    let streams: Vec<_> = (0..SUBSCRIBERS).map(|_| connect(&proxy, request, "")).collect();
    crate::support::wait_until("the subscribers", || proxy.connections() == SUBSCRIBERS as u64);
    thread::scope(|scope| {
        let proxy = &proxy;
        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|n| scope.spawn(move || publish(proxy, n, topics))).collect();
        let subscribers: Vec<_> = streams
            .into_iter()
            .enumerate()
            .map(|(n, stream)| scope.spawn(move || subscribe(proxy, request, stream, total, n)))
            .collect();
        let mut published = HashMap::new();
        for (publisher, thread) in publishers.into_iter().enumerate() {
            let ids = thread.join().unwrap();
            published.extend(ids.into_iter().enumerate().map(|(n, id)| (id, format!("{publisher} {n}"))));
        }
        let reference: Vec<_> = {
            let mut all: Vec<_> = published.into_iter().collect();
            all.sort_by_key(|(id, _)| id.parse::<revenprox_proxy::event::EventId>().unwrap());
            all
        };
        for thread in subscribers {
            assert!(thread.join().unwrap() == reference, "a subscriber missed something or got it twice");
        }
    });
}

#[test]
fn one_topic_is_seamless() {
    play(&["a"], "GET /events/a HTTP/1.1");
}

#[test]
fn several_topics_are_seamless() {
    play(&["a", "b", "c"], "GET /events?topic=a&topic=b&topic=c HTTP/1.1");
}

#[test]
fn streams_without_chunks_are_seamless() {
    play(&["a"], "GET /events/a HTTP/1.0");
    play(&["a", "b", "c"], "GET /events?topic=a&topic=b&topic=c HTTP/1.0");
}

#[test]
fn what_is_live_needs_no_history() {
    let proxy = Proxy::start("[history]\nmax_events_per_topic = 0\n");
    let topics = ["a", "b", "c"];
    let mut one = proxy.subscribe("/events/a", "");
    let mut all = proxy.subscribe("/events?topic=a&topic=b&topic=c", "");
    crate::support::wait_until("the subscribers", || proxy.connections() == 2);
    let ids = publish(&proxy, 0, &topics);
    assert!(ids.iter().all(|id| all.next().unwrap().id == *id));
    assert!(ids.iter().step_by(topics.len()).all(|id| one.next().unwrap().id == *id));
}
