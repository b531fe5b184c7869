//! A subscriber that does not read, each policy for it, and one beside it that must not notice.

use std::{
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Proxy, Stream, client::connect_narrow, stream::End, wait_until};

/// Far more than sockets buffer.
const EVENTS: usize = 150;

/// What follows the number in each event, so that a few fill a socket.
const PADDING: usize = 60_000;

fn config(policy: &str, more: &str) -> String {
    format!(
        "[http]\nbackpressure_policy = \"{policy}\"\nmax_message_queue_size = 10\n{more}[history]\nmax_bytes_per_topic = 60000000\n"
    )
}

/// A subscriber with little room, which reads nothing behind the head until it is told to.
fn slow_subscriber(proxy: &Proxy) -> Stream {
    let mut client = Client::over(connect_narrow(proxy.address));
    client.send(b"GET /events/a HTTP/1.1\r\nhost: x\r\n\r\n");
    Stream::begin(client)
}

fn event(n: usize) -> String {
    format!("{n} {}", "x".repeat(PADDING))
}

fn number(data: &str) -> usize {
    data.split(' ').next().unwrap().parse().unwrap()
}

/// Publishes all events, each of which another subscriber reads at once.
fn publish_beside_a_healthy_one(proxy: &Proxy) {
    let mut healthy = proxy.subscribe("/events/a", "");
    for n in 0..EVENTS {
        proxy.publish("a", &event(n));
        assert_eq!(number(&healthy.next_data()), n);
    }
}

/// Reads ordinary events until something else comes: their numbers, and how many events are said to be missing.
fn read_to_gap(stream: &mut Stream) -> (Vec<usize>, usize) {
    let mut numbers = Vec::new();
    loop {
        let event = stream.next().expect("a gap before the end");
        if event.event == "message" {
            numbers.push(number(&event.data));
            continue;
        }
        assert_eq!((event.event.as_str(), event.id.as_str()), ("revenprox-gap", stream.last_event_id()));
        let gap: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!((&gap["topic"], &gap["reason"]), (&"a".into(), &"slow".into()));
        return (numbers, usize::try_from(gap["dropped"].as_u64().unwrap()).unwrap());
    }
}

#[test]
fn the_newest_may_be_dropped() {
    let proxy = Proxy::start(&config("drop_newest", ""));
    let mut slow = slow_subscriber(&proxy);
    publish_beside_a_healthy_one(&proxy);
    let (before, dropped) = read_to_gap(&mut slow);
    assert!(before.iter().copied().eq(0..before.len()), "{before:?}");
    assert!(dropped > 0);
    assert_eq!(before.len() + dropped, EVENTS, "what came last was dropped");
    proxy.publish("a", &event(EVENTS));
    assert_eq!(number(&slow.next_data()), EVENTS);
}

#[test]
fn the_oldest_may_be_dropped() {
    let proxy = Proxy::start(&config("drop_oldest", ""));
    let mut slow = slow_subscriber(&proxy);
    publish_beside_a_healthy_one(&proxy);
    let (before, dropped) = read_to_gap(&mut slow);
    assert!(before.iter().copied().eq(0..before.len()), "{before:?}");
    let left = EVENTS - before.len() - dropped;
    assert!(dropped > 0 && (1..=10).contains(&left), "{dropped} dropped, {left} left");
    let after: Vec<_> = (0..left).map(|_| number(&slow.next_data())).collect();
    assert!(after.into_iter().eq(before.len() + dropped..EVENTS), "what came last is there");
}

#[test]
fn what_was_dropped_can_be_asked_for() {
    let proxy = Proxy::start(&config("drop_newest", ""));
    let mut slow = slow_subscriber(&proxy);
    publish_beside_a_healthy_one(&proxy);
    let (before, dropped) = read_to_gap(&mut slow);
    let mut again = proxy.subscribe("/events/a", &format!("last-event-id: {}\r\n", slow.last_event_id()));
    let missed: Vec<_> = (0..dropped).map(|_| number(&again.next_data())).collect();
    assert!(missed.into_iter().eq(before.len()..EVENTS));
}

#[test]
fn a_slow_one_may_be_disconnected() {
    let proxy = Proxy::start(&config("disconnect", ""));
    let mut slow = slow_subscriber(&proxy);
    publish_beside_a_healthy_one(&proxy);
    wait_until("the slow one to be cut", || proxy.connections() == 0);
    let (events, end) = slow.rest();
    assert_eq!(end, End::Cut);
    assert!(events.iter().map(|event| number(&event.data)).eq(0..events.len()));
}

#[test]
fn publishers_may_wait_but_not_for_ever() {
    let proxy = Proxy::start(&config("block", "backpressure_block_ms = 700\n"));
    let mut slow = slow_subscriber(&proxy);
    let mut longest = Duration::ZERO;
    for n in 0..EVENTS {
        let began = Instant::now();
        proxy.publish("a", &event(n));
        longest = longest.max(began.elapsed());
    }
    assert!(longest > Duration::from_millis(300), "nobody waited: {longest:?}");
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    wait_until("the slow one to be cut", || proxy.connections() == 0);
    let (events, end) = slow.rest();
    assert_eq!(end, End::Cut);
    assert!(events.iter().map(|event| number(&event.data)).eq(0..events.len()));
}

#[test]
fn waiting_publishers_go_on_when_the_slow_one_reads() {
    let proxy = Proxy::start(&config("block", "backpressure_block_ms = 60000\n"));
    let mut slow = slow_subscriber(&proxy);
    let accepted = AtomicUsize::new(0);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            for n in 0..EVENTS {
                proxy.publish("a", &event(n));
                accepted.fetch_add(1, Ordering::SeqCst);
            }
        });
        wait_until("the publisher to wait", || {
            let before = accepted.load(Ordering::SeqCst);
            thread::sleep(Duration::from_millis(300));
            before > 0 && before == accepted.load(Ordering::SeqCst)
        });
        assert!(accepted.load(Ordering::SeqCst) < EVENTS);
        let numbers: Vec<_> = (0..EVENTS).map(|_| number(&slow.next_data())).collect();
        assert!(numbers.into_iter().eq(0..EVENTS));
        publisher.join().unwrap();
    });
}

/// Publishes with a key of its own each time until an answer does not come; returns the number that waits.
fn publish_until_one_waits(proxy: &Proxy) -> usize {
    for n in 0..EVENTS {
        let socket = TcpStream::connect(proxy.address).unwrap();
        let mut client = Client::over(socket.try_clone().unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        client.send(keyed(n).as_bytes());
        if socket.peek(&mut [0]).is_err() {
            return n;
        }
        assert_eq!(client.response().status, 202);
    }
    panic!("nobody has to wait");
}

fn keyed(n: usize) -> String {
    let data = event(n);
    let length = data.len();
    format!(
        "POST /events/a HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nidempotency-key: {n}\r\n\r\n{data}"
    )
}

#[test]
fn the_key_of_a_publisher_that_gave_up_can_be_used_again() {
    let proxy = Proxy::start(&config("block", "backpressure_block_ms = 60000\n"));
    let mut slow = slow_subscriber(&proxy);
    let waiting = publish_until_one_waits(&proxy);
    // The connection of the one that waited is closed. It may have been published in the last moment.
    let reader = thread::spawn(move || {
        let mut last = String::new();
        while let Some(event) = slow.next().filter(|event| event.event == "message") {
            last = event.data;
            if number(&last) == waiting {
                break;
            }
        }
        number(&last)
    });
    wait_until("the key to be free", || {
        let answer = proxy.request(&keyed(waiting));
        assert!([202, 409].contains(&answer.status), "{answer:?}");
        answer.status == 202
    });
    assert_eq!(reader.join().unwrap(), waiting);
}

#[test]
fn one_that_takes_nothing_at_all_is_given_up() {
    let proxy = Proxy::start(&config("drop_newest", "connection_timeout_sec = 1\n"));
    let mut quiet = proxy.subscribe("/events/quiet", "");
    let _slow = slow_subscriber(&proxy);
    (0..EVENTS).for_each(|n| drop(proxy.publish("a", &event(n))));
    wait_until("the slow one to be cut", || proxy.connections() == 1);
    // A topic without events is no reason to be cut.
    proxy.publish("quiet", "x");
    assert_eq!(quiet.next_data(), "x");
}

#[test]
fn those_who_are_behind_are_counted() {
    let proxy = Proxy::start(&config("drop_newest", ""));
    let (mut first, second) = (slow_subscriber(&proxy), slow_subscriber(&proxy));
    let behind = || proxy.metric("revenprox_subscribers_behind");
    assert_eq!(behind(), 0);
    publish_beside_a_healthy_one(&proxy);
    wait_until("both to be behind", || behind() == 2);
    read_to_gap(&mut first);
    wait_until("one to have caught up", || behind() == 1);
    drop(second);
    wait_until("the other one to have gone", || behind() == 0);
}
