//! Every form of a stream, its head, and the requests that get none.

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
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::support::{
    Client, PATIENCE, Proxy, Stream,
    secure::{Identity, server_name},
    stream::End,
    token, unix_now, wait_until, with_tokens,
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
fn a_stream_has_the_head_that_proxies_and_browsers_need() {
    let proxy = Proxy::start("");
    let mut stream = proxy.subscribe("/events/a", "");
    assert_eq!(stream.head.version, "HTTP/1.1");
    for (name, value) in [
        ("cache-control", "no-cache, no-transform"),
        ("connection", "keep-alive"),
        ("x-accel-buffering", "no"),
        ("access-control-allow-origin", "*"),
        ("transfer-encoding", "chunked"),
    ] {
        assert_eq!(stream.head.get(name), Some(value), "{name}");
    }
    assert!(stream.head.get("date").is_some());
    let id = proxy.publish("a", "one\ntwo");
    let event = stream.next().unwrap();
    assert_eq!((event.id, event.event, event.data), (id.clone(), "message".into(), "one\ntwo".into()));
    assert_eq!(stream.lossy_text(), format!("retry: 2000\nid: {id}\ndata: one\ndata: two\n\n"));
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
fn a_look_at_the_head_takes_no_place() {
    let proxy = Proxy::start("[http]\nmax_connections = 1\n");
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send(b"HEAD /events/a HTTP/1.1\r\nhost: x\r\n\r\n");
        let head = client.head().unwrap();
        assert_eq!((head.status, head.get("content-type")), (200, Some("text/event-stream")));
    }
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn several_topics_come_in_the_order_of_their_ids() {
    let proxy = Proxy::start("");
    let mut stream = proxy.subscribe("/events?topic=a&topic=b%2Fc&topic=d&topic=a", "");
    let published: Vec<_> =
        (0..60).map(|n| proxy.publish(["a", "b%2Fc", "d", "elsewhere"][n % 4], &n.to_string())).collect();
    let events: Vec<_> = (0..45).map(|_| stream.next().unwrap()).collect();
    let wanted: Vec<_> = published.iter().enumerate().filter(|(n, _)| n % 4 < 3).map(|(_, id)| id).collect();
    assert!(events.iter().map(|event| &event.id).eq(wanted));
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn silence_is_filled_with_comments() {
    let proxy = Proxy::start("[http]\nkeepalive_interval_sec = 1\nretry_ms = 0\n");
    let mut client = proxy.client();
    client.send(b"GET /events/a HTTP/1.0\r\n\r\n");
    let (mut chunked, mut raw) = (proxy.subscribe("/events/a", ""), Stream::begin(client));
    for stream in [&mut chunked, &mut raw] {
        stream.wait_for_text(": keepalive\n: keepalive\n");
        assert_eq!(stream.lossy_text().replace(": keepalive\n", ""), "");
    }
}

#[test]
fn origins_are_told_what_they_may() {
    let proxy = Proxy::start("[http]\ncors_allowed_origins = [\"https://a.example\"]\n");
    let good = "origin: https://a.example\r\n";
    let stream = proxy.subscribe("/events/a", good);
    assert_eq!(stream.head.get("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(stream.head.get("access-control-allow-credentials"), Some("true"));
    assert_eq!(stream.head.get("vary"), Some("Origin"));
    let published = proxy.post("/events/a", good, "x");
    assert_eq!(published.header("access-control-allow-origin"), Some("https://a.example"));
    let refused = proxy.get("/events/", good);
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (400, Some("https://a.example"))
    );
    for other in
        ["", "origin: https://b.example\r\n", "origin: null\r\n", "origin: https://a.example.evil\r\n"]
    {
        let stream = proxy.subscribe("/events/a", other);
        assert_eq!(stream.head.get("access-control-allow-origin"), None, "{other}");
        assert_eq!(stream.head.get("vary"), Some("Origin"), "{other}");
    }
}

#[test]
fn preflights_are_answered() {
    let proxy = Proxy::start(&with_tokens(""));
    for path in ["/events/a", "/events"] {
        let asked = "origin: https://a.example\r\naccess-control-request-method: POST\r\naccess-control-request-headers: authorization\r\n";
        let answer = proxy.request(&format!("OPTIONS {path} HTTP/1.1\r\nhost: x\r\n{asked}\r\n"));
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(answer.header("access-control-allow-methods").unwrap().contains("POST"));
        let headers = answer.header("access-control-allow-headers").unwrap();
        for header in ["Authorization", "Last-Event-ID", "Idempotency-Key", "Content-Type"] {
            assert!(headers.contains(header), "{headers}");
        }
        assert!(answer.header("access-control-max-age").is_some());
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let proxy = Proxy::start(&with_tokens("cookie_name = \"session\"\n"));
    let claims =
        |topics: &str| json!({"sub": "s", "exp": unix_now() + 600, "revenprox": {"subscribe": [topics]}});
    let foreign = format!("authorization: Bearer {}\r\n", token(&claims("others-*")));
    let mut old = claims("*");
    old["exp"] = json!(unix_now() - 600);
    let old = format!("authorization: Bearer {}\r\n", token(&old));
    for (path, headers, status, title) in [
        ("/nothing", "", 404, "Not Found"),
        ("/events/a", "", 401, "Unauthorized"),
        ("/events/a", old.as_str(), 401, "Unauthorized"),
        ("/events/a", "authorization: Bearer x.y.z\r\n", 401, "Unauthorized"),
        ("/events/a", "authorization: Basic eDp5\r\n", 401, "Unauthorized"),
        ("/events/a", foreign.as_str(), 403, "Forbidden"),
        ("/events?topic=others-1&topic=a", foreign.as_str(), 403, "Forbidden"),
        ("/events/a", "accept: text/html\r\n", 406, "Not Acceptable"),
        ("/events/%FF", "", 400, "Bad Request"),
    ] {
        let answer = proxy.get(path, headers);
        assert_eq!(answer.status, status, "{path} {headers}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert_eq!((&problem["status"], &problem["title"]), (&json!(status), &json!(title)));
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert_eq!(challenge.starts_with("Bearer"), status == 401, "{challenge}");
    }
    let put = proxy.request("PUT /events/a HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD, POST, OPTIONS")));
}

#[test]
fn a_token_may_come_in_three_ways() {
    let proxy = Proxy::start(&with_tokens("cookie_name = \"session\"\n"));
    let token = token(&json!({"sub": "s", "exp": unix_now() + 600, "permissions": ["topic:read"]}));
    let mut streams = [
        proxy.subscribe("/events/a", &format!("authorization: bearer {token}\r\n")),
        proxy.subscribe(&format!("/events/a?token={token}"), ""),
        proxy.subscribe("/events/a", &format!("cookie: x=y; session={token}\r\n")),
    ];
    let write = token_for_writing();
    let sent = proxy.post("/events/a", &format!("authorization: Bearer {write}\r\n"), "x");
    assert_eq!(sent.status, 202);
    for stream in &mut streams {
        assert_eq!(stream.next_data(), "x");
    }
}

fn token_for_writing() -> String {
    token(&json!({"sub": "p", "exp": unix_now() + 600, "permissions": ["topic:write"]}))
}

#[test]
fn answers_before_a_stream_are_sent_before_it() {
    const REQUESTS: usize = 5_000;
    let proxy = Proxy::start("");
    // With little room in between, answers wait within the proxy.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&proxy.address.into()).unwrap();
    let socket = std::net::TcpStream::from(socket);
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
