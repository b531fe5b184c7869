//! `sse-proxy subscribe` against a real server.

use std::sync::Arc;

use http::StatusCode;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::{
    Run, run,
    server::{Answer, Server},
};

/// Subscribes with a limit of time, so that a test that fails also ends.
fn subscribe(server: &Server, args: &[&str]) -> Run {
    let url = server.url();
    run(&[&["subscribe", url.as_str(), "--timeout", "60"], args].concat())
}

#[test]
fn lost_connections_are_resumed_after_the_last_event() {
    let server = Server::start(|before, _| match before {
        0 => Answer::stream("retry: 1\n\nid: 1\ndata: a\n\nid: 2\ndata: b\n\ndata: cut o").then_break(),
        1 => Answer::stream("id: 3\ndata: c\n\n"),
        2 => Answer::stream(": nothing\n"),
        3 => Answer::stream("data: without an id\n\n"),
        _ => Answer::stream("id: 5\ndata: e\n\n").then_hold(),
    });
    let run = subscribe(&server, &["demo", "-n", "5"]);
    assert_eq!((run.code, run.out.as_str()), (0, "a\nb\nc\nwithout an id\ne\n"), "{run:?}");
    let requests = server.requests();
    let ids: Vec<_> = requests.iter().map(|request| request.header("last-event-id")).collect();
    assert_eq!(ids, ["", "2", "3", "3", "3"]);
    for request in &requests {
        assert_eq!(request.line, "GET /events/demo");
        assert_eq!(request.header("accept"), "text/event-stream");
    }
}

#[test]
fn the_first_request_says_where_to_start() {
    let answer = |before, _: &_| match before {
        0 => Answer::stream("retry: 1\n\ndata: a\n\n"),
        1 => Answer::stream("id: 9\ndata: b\n\n"),
        _ => Answer::stream("data: c\n\n").then_hold(),
    };
    let server = Server::start(answer);
    assert_eq!(subscribe(&server, &["a b", "--since", "10m", "-n", "3"]).code, 0);
    let lines: Vec<_> = server.requests().iter().map(|request| request.line.clone()).collect();
    // Without any id, the same start is asked for again; with one, it is the id that counts.
    assert_eq!(lines, ["GET /events/a%20b?since=10m", "GET /events/a%20b?since=10m", "GET /events/a%20b"]);

    let server = Server::start(answer);
    assert_eq!(subscribe(&server, &["x", "y", "--last-event-id", "7", "-n", "1"]).code, 0);
    let request = &server.requests()[0];
    assert_eq!(
        (request.line.as_str(), request.header("last-event-id")),
        ("GET /events?topic=x&topic=y", "7")
    );
}

#[test]
fn events_can_be_had_as_json_with_the_proxy_s_own_among_them() {
    let server = Server::start(|_, _| {
        Answer::stream(
            "event: revenprox-gap\ndata: {\"reason\":\"too old\"}\n\nid: 1\nevent: tick\ndata: two\ndata: lines\n\n",
        )
        .then_hold()
    });
    let run = subscribe(&server, &["demo", "--json", "-n", "1"]);
    let lines: Vec<Value> = run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let gap = json!({"id": "", "event": "revenprox-gap", "data": "{\"reason\":\"too old\"}"});
    assert_eq!(lines, [gap, json!({"id": "1", "event": "tick", "data": "two\nlines"})]);

    let run = subscribe(&server, &["demo", "-n", "1"]);
    assert_eq!(run.out, "two\nlines\n");
    assert!(run.err.contains("revenprox-gap: {\"reason\":\"too old\"}"), "{run:?}");
    assert_eq!(subscribe(&server, &["demo", "-n", "1", "--quiet"]).err, "");
}

#[test]
fn a_passing_refusal_is_waited_out() {
    let server = Server::start(|before, _| match before {
        0 => Answer::stream("retry: 1\n\nevent: revenprox-retry\ndata: {\"reason\":\"draining\"}\n\n"),
        1 => Answer::json(StatusCode::SERVICE_UNAVAILABLE, "{}").header("retry-after", "0"),
        2 => Answer::json(StatusCode::TOO_MANY_REQUESTS, "{}").header("retry-after", "0"),
        _ => Answer::stream("data: a\n\n").then_hold(),
    });
    let run = subscribe(&server, &["demo", "-n", "1"]);
    assert_eq!((run.code, run.out.as_str()), (0, "a\n"), "{run:?}");
    assert!(
        run.err.contains("revenprox-retry") && run.err.contains("503") && run.err.contains("429"),
        "{run:?}"
    );
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_lasting_refusal_ends_with_its_reason() {
    let server = Server::start(|_, _| {
        let problem = r#"{"title":"Forbidden","status":403,"detail":"the token does not allow this topic"}"#;
        Answer::with_body(StatusCode::FORBIDDEN, "application/problem+json", problem)
    });
    let run = subscribe(&server, &["demo"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("403 Forbidden: the token does not allow this topic"), "{run:?}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn what_is_no_stream_is_not_read() {
    let server = Server::start(|_, _| Answer::with_body(StatusCode::OK, "text/html", "data: a\n\n"));
    let run = subscribe(&server, &["demo"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("text/html"), "{run:?}");
}

#[test]
fn no_content_ends_a_subscription() {
    let server = Server::start(|_, _| Answer::empty(StatusCode::NO_CONTENT));
    assert_eq!(subscribe(&server, &["demo"]).code, 0);
    assert_eq!(subscribe(&server, &["demo", "-n", "1"]).code, 1);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn reconnecting_can_be_turned_off() {
    let server = Server::start(|_, _| Answer::stream("data: a\n\n"));
    let run = subscribe(&server, &["demo", "--no-reconnect"]);
    assert_eq!((run.code, run.out.as_str()), (0, "a\n"));
    let run = subscribe(&server, &["demo", "--no-reconnect", "-n", "2"]);
    assert_eq!((run.code, run.out.as_str()), (1, "a\n"));
}

#[test]
fn the_time_can_be_limited() {
    let server = Server::start(|_, _| Answer::stream("data: a\n\n").then_hold());
    let url = server.url();
    let timed =
        |args: &[&str]| run(&[&["subscribe", url.as_str(), "demo", "--timeout", "500ms"], args].concat());
    let run = timed(&["-n", "2"]);
    assert_eq!((run.code, run.out.as_str()), (4, "a\n"));
    assert_eq!(timed(&[]).code, 0);
}

#[test]
fn an_expired_token_ends_a_subscription_unless_it_can_be_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "one\n").unwrap();
    let renewed = file.clone();
    let server = Server::start(move |before, _| match before {
        0 => {
            std::fs::write(&renewed, "two\n").unwrap();
            Answer::stream("retry: 1\n\nid: 1\ndata: a\n\nevent: revenprox-token-expired\ndata: {}\n\n")
        }
        1 => Answer::stream("id: 2\ndata: b\n\n").then_hold(),
        _ => Answer::stream("event: revenprox-token-expired\ndata: {}\n\n"),
    });
    let run = subscribe(&server, &["demo", "-n", "2", "--token-file", &file.display().to_string()]);
    assert_eq!((run.code, run.out.as_str()), (0, "a\nb\n"), "{run:?}");
    let tokens: Vec<_> = server.requests().iter().map(|r| r.header("authorization").to_owned()).collect();
    assert_eq!(tokens, ["Bearer one", "Bearer two"]);

    let run = subscribe(&server, &["demo", "--token", "three"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("the token has expired"), "{run:?}");
    assert_eq!(server.requests()[2].header("authorization"), "Bearer three");
}

#[test]
fn tls_is_checked_against_the_given_authorities() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start_with(Some(acceptor), |_, _| Answer::stream("data: a\n\n").then_hold());

    let run = subscribe(&server, &["demo", "-n", "1", "--ca", &ca.display().to_string()]);
    assert_eq!((run.code, run.out.as_str()), (0, "a\n"), "{run:?}");

    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&ca, other.cert.pem()).unwrap();
    let run = subscribe(&server, &["demo", "--no-reconnect", "-n", "1", "--ca", &ca.display().to_string()]);
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    assert!(run.err.contains("certificate"), "{run:?}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn urls_and_topics_are_checked_before_anything_is_sent() {
    for args in [
        &["127.0.0.1:8080", "demo"][..],
        &["http://127.0.0.1:1", "a\tb"],
        &["http://127.0.0.1:1", "--since", "1h", "--last-event-id", "1"],
    ] {
        assert_eq!(run(&[&["subscribe"], args].concat()).code, 2, "{args:?}");
    }
    let missing = run(&["subscribe", "http://127.0.0.1:1", "demo", "--ca", "/nowhere.pem"]);
    assert_eq!(missing.code, 1, "{missing:?}");
}
