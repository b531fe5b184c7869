//! The end: announced, spread over a while, and with a last word to everybody.

use std::time::{Duration, Instant};

use revenprox_proxy::client::parser::Parser;
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::{
    Client, Proxy,
    client::find,
    stream::{End, dechunk},
    wait_until,
};

const SUBSCRIBERS: usize = 200;

/// What one subscriber has seen of the drain.
struct Seen {
    bytes: Vec<u8>,
    after: Duration,
}

async fn subscribe(proxy: &Proxy) -> TcpStream {
    let mut socket = TcpStream::connect(proxy.address).await.unwrap();
    socket.write_all(b"GET /events/a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    socket
}

/// Checks the last words of a stream, and returns the delay that they ask for.
fn check_farewell(bytes: &[u8]) -> u64 {
    let head = find(bytes, b"\r\n\r\n").unwrap() + 4;
    let mut text = Vec::new();
    let whole = (bytes.len() - head, true);
    assert_eq!(dechunk(&bytes[head..], &mut text), whole, "the last chunk ends the stream");
    let mut parser = Parser::new();
    let events = parser.feed(&text).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].event.as_str(), events[0].data.as_str()),
        ("revenprox-retry", "{\"reason\":\"draining\"}")
    );
    parser.retry().unwrap()
}

/// What else goes on while streams are being closed.
fn check_meanwhile(proxy: &Proxy, slow_publish: &mut Client) {
    wait_until("the instance to be unready", || proxy.get("/readyz", "").status == 503);
    assert_eq!(proxy.get("/livez", "").status, 200);
    let (events, end) = proxy.subscribe("/events/a", "").rest();
    assert_eq!((events[0].event.as_str(), end), ("revenprox-retry", End::Whole));
    assert!(events[0].data.contains("\"draining\""), "{}", events[0].data);
    let refused = proxy.get("/events/a", "");
    assert!(refused.status == 503 && refused.header("retry-after").is_some(), "{refused:?}");
    // Publishes are served to the end, and one that had begun is as well.
    proxy.publish("elsewhere", "x");
    slow_publish.send(b"world");
    assert_eq!(slow_publish.response().status, 202);
}

#[test]
fn streams_end_one_by_one_and_with_a_word() {
    let mut proxy = Proxy::start("[http]\ndrain_window_sec = 3\nretry_ms = 2000\n");
    let mut slow_publish = proxy.client();
    slow_publish.send(b"POST /events/elsewhere HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhello");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut readers = JoinSet::new();
    let mut sockets = Vec::new();
    for _ in 0..SUBSCRIBERS {
        sockets.push(runtime.block_on(subscribe(&proxy)));
    }
    wait_until("the subscribers", || proxy.connections() == SUBSCRIBERS as u64);
    let began = Instant::now();
    proxy.signal(Signal::TERM);
    for mut socket in sockets {
        let read = async move {
            let mut bytes = Vec::new();
            socket.read_to_end(&mut bytes).await.unwrap();
            Seen { bytes, after: began.elapsed() }
        };
        readers.spawn_on(read, runtime.handle());
    }
    check_meanwhile(&proxy, &mut slow_publish);
    let seen = runtime.block_on(readers.join_all());
    let mut slots = [0; 20];
    for Seen { after, .. } in &seen {
        slots[usize::try_from(after.as_millis() / 500).unwrap().min(19)] += 1;
    }
    assert!(slots.iter().all(|count| *count <= SUBSCRIBERS / 2), "{slots:?}");
    assert!(slots.iter().filter(|count| **count > 0).count() >= 4, "{slots:?}");
    let retries: Vec<_> = seen.iter().map(|seen| check_farewell(&seen.bytes)).collect();
    assert!(retries.iter().all(|ms| (1_000..=3_000).contains(ms)), "{retries:?}");
    assert!(retries.iter().min().unwrap() + 500 < *retries.iter().max().unwrap(), "they are spread");
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn an_instance_without_streams_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut proxy = Proxy::start("[http]\ndrain_window_sec = 60\n");
        proxy.publish("a", "x");
        let began = Instant::now();
        proxy.signal(signal);
        assert_eq!(proxy.wait().code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut proxy = Proxy::start("[http]\ndrain_window_sec = 3600\n");
    let mut streams: Vec<_> = (0..3).map(|_| proxy.subscribe("/events/a", "")).collect();
    proxy.signal(Signal::TERM);
    wait_until("the drain", || proxy.get("/readyz", "").status == 503);
    let began = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(8));
    for stream in &mut streams {
        stream.rest();
    }
}

#[test]
fn a_long_drain_says_how_far_it_has_come() {
    let mut proxy = Proxy::start("[http]\ndrain_window_sec = 3600\n");
    let _streams: Vec<_> = (0..3).map(|_| proxy.subscribe("/events/a", "")).collect();
    proxy.signal(Signal::TERM);
    let line = proxy.wait_for_log("still draining", 1);
    assert!(line.contains("\"left\":3,\"of\":3"), "{line}");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
}
