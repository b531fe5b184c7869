//! Those who are turned away, and how.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::support::{Client, Proxy, Response, Stream, client::connect_from, stream::End, wait_until};

const SUBSCRIBE: &str = "GET /events/a HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n";

fn subscribe_from(host: u8, proxy: &Proxy) -> Stream {
    let mut client = Client::over(connect_from(host, proxy.address));
    client.send(SUBSCRIBE.as_bytes());
    Stream::begin(client)
}

/// Checks that a stream does nothing but ask its client to come back.
fn check_turned_away(mut stream: Stream, reason: &str, retry: std::ops::RangeInclusive<u64>) {
    let (events, end) = stream.rest();
    assert_eq!((events.len(), end), (1, End::Whole), "{events:?}");
    assert_eq!(events[0].event, "revenprox-retry");
    let data: serde_json::Value = serde_json::from_str(&events[0].data).unwrap();
    assert_eq!(data["reason"], reason);
    assert!(stream.retry().is_some_and(|ms| retry.contains(&ms)), "{:?}", stream.retry());
    assert_eq!(stream.last_event_id(), "");
    assert_eq!(stream.head.get("cache-control"), Some("no-store"));
    assert_eq!(stream.head.get("access-control-allow-origin"), Some("*"));
    assert!(stream.client.is_at_end(), "the connection stays open");
}

fn check_status(answer: &Response, status: u16, wait: std::ops::RangeInclusive<u64>) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let after = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(wait.contains(&after), "{after}");
}

#[test]
fn there_are_only_so_many_places() {
    let proxy = Proxy::start("[http]\nmax_connections = 2\n");
    let mut streams = [proxy.subscribe("/events/a", ""), proxy.subscribe("/events/b", "")];
    check_turned_away(proxy.subscribe("/events/a", ""), "connections", 2_000..=6_000);
    // Some clients forget their place at an event without one.
    let id = "1703894400000-001-5e0c91aa-0b6d41f2";
    for (named, told) in [(id, id), ("nonsense", "")] {
        let mut stream = proxy.subscribe("/events/a", &format!("last-event-id: {named}\r\n"));
        assert_eq!((stream.rest().0[0].event.as_str(), stream.last_event_id()), ("revenprox-retry", told));
    }
    // Those who do not name an event stream are told by a status.
    for accept in ["", "accept: */*\r\n", "accept: text/*\r\n"] {
        check_status(&proxy.get("/events/a", accept), 503, 2..=6);
    }
    // Publishers need no place, and those who are in lose nothing.
    proxy.publish("a", "x");
    assert_eq!(streams[0].next_data(), "x");
    assert_eq!(proxy.connections(), 2);
    drop(streams);
    wait_until("the places to be free", || proxy.connections() == 0);
    proxy.subscribe("/events/a", "").wait_for_text("retry: 2000\n");
}

#[test]
fn a_status_for_everybody_can_be_chosen() {
    let proxy = Proxy::start("[http]\nmax_connections = 1\nrefuse_with = \"status\"\n");
    let _stream = proxy.subscribe("/events/a", "");
    check_status(&proxy.get("/events/a", "accept: text/event-stream\r\n"), 503, 2..=6);
}

#[test]
fn an_address_has_only_so_many_places() {
    let proxy = Proxy::start("[http]\nmax_connections_per_ip = 1\n");
    let first = subscribe_from(1, &proxy);
    check_turned_away(subscribe_from(1, &proxy), "connections", 2_000..=6_000);
    subscribe_from(2, &proxy).wait_for_text("retry: 2000\n");
    drop(first);
    wait_until("the place to be free", || proxy.connections() == 0);
    subscribe_from(1, &proxy).wait_for_text("retry: 2000\n");
}

#[test]
fn an_address_may_try_only_so_often() {
    let proxy = Proxy::start("[http]\nrate_limit_per_ip = 3\nrate_limit_window_sec = 3600\n");
    for _ in 0..3 {
        subscribe_from(1, &proxy).wait_for_text("retry: 2000\n");
    }
    check_turned_away(subscribe_from(1, &proxy), "rate", 1_000..=5_400_000);
    check_status(&proxy.get("/events/a", ""), 429, 1..=5_400);
    // It is subscribes that count, by address; malformed ones and everything else do not.
    assert_eq!(proxy.get("/events/", "").status, 400);
    for n in 0..10 {
        proxy.publish("a", &n.to_string());
    }
    subscribe_from(2, &proxy).wait_for_text("retry: 2000\n");
}

#[test]
fn who_comes_when_memory_is_short_is_turned_away() {
    let proxy = Proxy::start("[limits]\nmax_memory_mb = 8\n[history]\nmax_total_mb = 4\n");
    wait_until("the proxy to notice", || subscribe_status(&proxy) == 503);
    check_turned_away(proxy.subscribe("/events/a", ""), "memory", 2_000..=6_000);
    proxy.publish("a", "publishers are served");
}

/// The status for one who does not name an event stream and leaves at once.
fn subscribe_status(proxy: &Proxy) -> u16 {
    let mut client = proxy.client();
    client.send(b"GET /events/a HTTP/1.1\r\nhost: x\r\n\r\n");
    client.head().unwrap().status
}

#[test]
fn a_window_ends() {
    let proxy = Proxy::start("[http]\nrate_limit_per_ip = 1\nrate_limit_window_sec = 1\n");
    wait_until("a refusal", || subscribe_status(&proxy) == 429);
    wait_until("the next window", || subscribe_status(&proxy) == 200);
}

#[test]
fn a_body_that_takes_too_long_is_given_up() {
    let proxy = Proxy::start("[http]\nbody_timeout_sec = 1\n");
    let mut client = proxy.client();
    client.send(b"POST /events/a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhe");
    assert_eq!(client.response().status, 408);
    assert!(client.is_at_end(), "what is left of the body is not taken for a request");
}

#[test]
fn a_connection_without_requests_is_closed() {
    let proxy = Proxy::start("[http]\nheader_timeout_sec = 1\nconnection_timeout_sec = 1\n");
    let mut silent = proxy.client();
    let mut polite = proxy.client();
    polite.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(polite.response().status, 200);
    assert!(silent.is_at_end() && polite.is_at_end());
}

#[test]
fn no_head_may_take_long_not_even_a_second_one() {
    let proxy = Proxy::start("[http]\nheader_timeout_sec = 1\n");
    for before in ["", "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut client = proxy.client();
        client.send(before.as_bytes());
        if !before.is_empty() {
            assert_eq!(client.response().status, 200);
        }
        client.send(b"GET /readyz HTTP/1.1\r\nho");
        let began = Instant::now();
        assert!(client.is_at_end(), "half a head is answered");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(30), "it may take {took:?}, which is no bound on heads");
    }
}

#[test]
fn an_answer_arrives_although_the_client_is_still_sending() {
    const BODY: usize = 700_000;
    let proxy = Proxy::start("[http]\nmax_body_size = 1000\n[publish]\nmax_event_bytes = 1000\n");
    for _ in 0..20 {
        let mut socket = TcpStream::connect(proxy.address).unwrap();
        let head = format!("POST /events/a HTTP/1.1\r\nhost: x\r\ncontent-length: {BODY}\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        // A reset would be an error here or there, and on some systems take the answer with it.
        socket.write_all(&vec![b'x'; BODY]).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}
