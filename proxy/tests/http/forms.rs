//! The forms of a stream besides chunks in the clear: HTTP/1.0, HTTP/2, TLS.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
};

use bytes::Bytes;
use http::{Request, Response, Version, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use revenprox_proxy::client::parser::{Event, Parser};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::support::{
    Client, PATIENCE, Proxy, Stream,
    client::connect_narrow,
    secure::{Identity, server_name},
    stream::End,
    wait_until,
};

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, work).await.expect("it takes too long") })
}

/// An HTTP/2 connection over `io`.
async fn http2_over<S>(io: S) -> http2::SendRequest<Empty<Bytes>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(address: SocketAddr, path: &str) -> Request<Empty<Bytes>> {
    let uri = format!("http://{address}{path}");
    Request::get(uri).header(header::ACCEPT, "text/event-stream").body(Empty::new()).unwrap()
}

/// Reads events until there are `count`.
async fn events(body: &mut Incoming, count: usize) -> Vec<Event> {
    let (mut parser, mut events) = (Parser::new(), Vec::new());
    while events.len() < count {
        let frame = body.frame().await.expect("more of the stream").unwrap();
        events.extend(parser.feed(frame.data_ref().unwrap()).unwrap());
    }
    events
}

fn check_head(response: &Response<Incoming>) {
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    assert!(!response.headers().contains_key("connection"));
}

#[test]
fn old_clients_get_a_stream_that_ends_with_the_connection() {
    let mut proxy = Proxy::start("[http]\ndrain_window_sec = 0\nretry_ms = 1000\n");
    let mut client = proxy.client();
    client.send(b"GET /events/a HTTP/1.0\r\n\r\n");
    let mut stream = Stream::begin(client);
    assert_eq!(stream.head.get("connection"), Some("close"));
    assert_eq!(stream.head.get("transfer-encoding"), None);
    proxy.publish("a", "x");
    assert_eq!(stream.next_data(), "x");
    assert!(stream.lossy_text().starts_with("retry: 1000\nid: "));
    proxy.signal(rustix::process::Signal::TERM);
    let (events, end) = stream.rest();
    assert_eq!((events[0].event.as_str(), end), ("revenprox-retry", End::Whole));
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn who_has_the_head_misses_nothing_with_or_without_history() {
    let proxy = Proxy::start("[history]\nmax_events_per_topic = 0\n");
    in_runtime(async {
        let mut sender = http2_over(TcpStream::connect(proxy.address).await.unwrap()).await;
        for n in 0..200 {
            let topic = format!("topic-{n}");
            let response =
                sender.send_request(get(proxy.address, &format!("/events/{topic}"))).await.unwrap();
            proxy.publish(&topic, "at once");
            assert_eq!(events(&mut response.into_body(), 1).await[0].data, "at once");
        }
    });
}

#[test]
fn http2_carries_many_streams_on_one_plain_connection() {
    let proxy = Proxy::start("");
    in_runtime(async {
        let mut sender = http2_over(TcpStream::connect(proxy.address).await.unwrap()).await;
        let mut streams = Vec::new();
        for n in 0..20 {
            let response =
                sender.send_request(get(proxy.address, &format!("/events/{}", n % 4))).await.unwrap();
            check_head(&response);
            streams.push(response.into_body());
        }
        for topic in 0..4 {
            let topic = topic.to_string();
            proxy.publish(&topic, &format!("for {topic}"));
        }
        for (n, body) in streams.iter_mut().enumerate() {
            assert_eq!(events(body, 1).await[0].data, format!("for {}", n % 4));
        }
        // One of the streams is given up; the others go on.
        drop(streams.remove(0));
        while proxy.connections() != 19 {
            tokio::task::yield_now().await;
        }
        proxy.publish("0", "more");
        let more = events(&mut streams[3], 1).await;
        assert_eq!(more[0].data, "more");
    });
    wait_until("the streams to be gone", || proxy.connections() == 0);
}

#[test]
fn http2_delivers_what_is_larger_than_its_windows() {
    let proxy = Proxy::start("");
    in_runtime(async {
        let mut sender = http2_over(TcpStream::connect(proxy.address).await.unwrap()).await;
        let mut response = sender.send_request(get(proxy.address, "/events/a")).await.unwrap();
        let data: Vec<String> = (0..20).map(|n| n.to_string().repeat(100_000)).collect();
        for data in &data {
            proxy.publish("a", data);
        }
        let got = events(response.body_mut(), data.len()).await;
        assert!(got.iter().map(|event| &event.data).eq(&data));
    });
}

#[test]
fn tls_speaks_both_versions() {
    let identity = Identity::new();
    let proxy = Proxy::start(&identity.config());
    let address = proxy.other_address();
    let mut client = identity.connect(address).unwrap();
    client.send(b"GET /events/a HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut one = Stream::begin(client);
    assert_eq!(one.head.get("transfer-encoding"), Some("chunked"));
    in_runtime(async {
        let connector = TlsConnector::from(identity.client_config("h2"));
        let socket = TcpStream::connect(address).await.unwrap();
        let secure = connector.connect(server_name(), socket).await.unwrap();
        assert_eq!(secure.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut sender = http2_over(secure).await;
        let mut two = sender.send_request(get(address, "/events/a")).await.unwrap();
        check_head(&two);
        let id = proxy.publish("a", "x");
        assert_eq!(events(two.body_mut(), 1).await[0].id, id);
        assert_eq!(one.next().unwrap().id, id);
    });
    drop(one);
    wait_until("the streams to be gone", || proxy.connections() == 0);
}

#[test]
fn a_stream_of_http2_that_is_not_read_holds_up_no_other() {
    let proxy =
        Proxy::start("[http]\nmax_message_queue_size = 10\n[history]\nmax_bytes_per_topic = 60000000\n");
    in_runtime(async {
        let mut sender = http2_over(TcpStream::connect(proxy.address).await.unwrap()).await;
        let mut slow = sender.send_request(get(proxy.address, "/events/a")).await.unwrap();
        let mut quick = sender.send_request(get(proxy.address, "/events/a")).await.unwrap();
        for n in 0..100 {
            let data = format!("{n} {}", "x".repeat(60_000));
            proxy.publish("a", &data);
            assert_eq!(events(quick.body_mut(), 1).await[0].data, data);
        }
        // Its windows and its queue are full; behind them is a gap.
        let late = events(slow.body_mut(), 1).await;
        assert!(late[0].data.starts_with("0 "));
        let mut rest = Vec::new();
        while !rest.iter().any(|event: &Event| event.event == "revenprox-gap") {
            rest.extend(events(slow.body_mut(), 1).await);
        }
    });
}

#[test]
fn http2_is_turned_away_and_drained_like_others() {
    let mut proxy = Proxy::start("[http]\nmax_connections = 1\ndrain_window_sec = 0\nretry_ms = 1000\n");
    in_runtime(async {
        let mut sender = http2_over(TcpStream::connect(proxy.address).await.unwrap()).await;
        let mut stays = sender.send_request(get(proxy.address, "/events/a")).await.unwrap();
        let refused = sender.send_request(get(proxy.address, "/events/a")).await.unwrap();
        assert_eq!(refused.status(), 200);
        let text = refused.into_body().collect().await.unwrap().to_bytes();
        let event = &Parser::new().feed(&text).unwrap()[0];
        assert_eq!(event.event, "revenprox-retry");
        proxy.signal(rustix::process::Signal::TERM);
        let text = stays.body_mut().collect().await.unwrap().to_bytes();
        let event = &Parser::new().feed(&text).unwrap()[0];
        assert_eq!(
            (event.event.as_str(), event.data.as_str()),
            ("revenprox-retry", "{\"reason\":\"draining\"}")
        );
    });
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn tls_is_closed_so_that_its_end_can_be_told_from_a_cut() {
    let identity = Identity::new();
    let proxy = Proxy::start(&identity.config());
    for request in
        ["GET /health HTTP/1.0\r\n\r\n", "GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"]
    {
        let mut client = identity.connect(proxy.other_address()).unwrap();
        client.send(request.as_bytes());
        client.response();
        // RFC 8446, section 6.1: an end without an alert is an error here.
        assert_eq!(client.socket.read(&mut [0]).unwrap(), 0, "{request}");
    }
}

#[test]
fn answers_before_a_stream_are_sent_before_it() {
    const REQUESTS: usize = 5_000;
    let proxy = Proxy::start("");
    // With little room in between, answers wait within the proxy.
    let socket = connect_narrow(proxy.address);
    let mut client = Client::over(socket.try_clone().unwrap());
    let sender = std::thread::spawn(move || {
        let requests = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n".repeat(REQUESTS);
        (&socket).write_all(requests.as_bytes()).unwrap();
        (&socket).write_all(b"GET /events/a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    });
    for n in 0..REQUESTS {
        assert_eq!(client.response().status, 200, "answer {n}");
    }
    let mut stream = Stream::begin(client);
    sender.join().unwrap();
    proxy.publish("a", "x");
    assert_eq!(stream.next_data(), "x");
}
