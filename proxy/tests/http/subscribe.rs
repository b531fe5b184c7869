//! The head of a stream, what comes in it, and the requests that get none.

use serde_json::json;

use crate::support::{Proxy, Stream, token, unix_now, with_tokens};

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
