//! `sse-proxy publish` against a real server.

use http::StatusCode;

use crate::{
    Run, run, run_with,
    server::{Answer, Server},
};

const ACCEPTED: &str = r#"{"id":"1703894400000-001","topic":"ffb7e01f2dc15a238bef3bdbd08fa595"}"#;

fn accepting() -> Server {
    Server::start(|_, _| Answer::json(StatusCode::ACCEPTED, ACCEPTED))
}

fn publish(server: &Server, args: &[&str], input: &str) -> Run {
    let url = server.url();
    run_with(&[&["publish", url.as_str()], args].concat(), input, &[])
}

#[test]
fn one_event_is_sent_as_it_is() {
    let server = accepting();
    let run =
        publish(&server, &["demo", "héllo\nworld\n", "--event", "a b", "--retry", "5", "--token", "t"], "");
    assert_eq!((run.code, run.out.as_str()), (0, format!("{ACCEPTED}\n").as_str()), "{run:?}");
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line, "POST /events/demo?event=a%20b&retry=5");
    assert_eq!(requests[0].body, "héllo\nworld\n");
    assert_eq!(requests[0].header("authorization"), "Bearer t");
}

#[test]
fn data_can_come_from_the_standard_input() {
    let server = accepting();
    for args in [&["demo"][..], &["demo", "-"], &["demo", "--exact"]] {
        assert_eq!(publish(&server, args, "a\n\n").code, 0, "{args:?}");
    }
    let bodies: Vec<_> = server.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, ["a\n", "a\n", "a\n\n"]);
}

#[test]
fn the_id_alone_can_be_printed() {
    let server = accepting();
    let run = publish(&server, &["demo", "x", "--id-only", "--idempotency-key", "k"], "");
    assert_eq!(run.out, "1703894400000-001\n");
    assert_eq!(server.requests()[0].header("idempotency-key"), "k");
}

#[test]
fn a_second_instance_can_be_waited_for() {
    let server = accepting();
    let replicated = ["--ack", "replicated"];
    assert_eq!(publish(&server, &[&["demo", "x", "--event", "e"], &replicated[..]].concat(), "").code, 0);
    assert_eq!(publish(&server, &[&["demo", "--lines"], &replicated[..]].concat(), "x\n").code, 0);
    assert_eq!(publish(&server, &[&["--ndjson"], &replicated[..]].concat(), "{}\n").code, 0);
    assert_eq!(publish(&server, &["demo", "x", "--ack", "accepted"], "").code, 0);
    let lines: Vec<_> = server.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(
        lines,
        [
            "POST /events/demo?event=e&ack=replicated",
            "POST /events/demo?ack=replicated",
            "POST /events?ack=replicated",
            "POST /events/demo"
        ]
    );
    assert_eq!(publish(&server, &["demo", "x", "--ack", "perhaps"], "").code, 2);
}

#[test]
fn every_line_can_be_an_event() {
    let server = accepting();
    let run = publish(&server, &["demo", "--lines", "--id-only"], "one\n\ntwo\r\nthree");
    assert_eq!((run.code, run.out.lines().count()), (0, 4));
    let bodies: Vec<_> = server.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, ["one", "", "two", "three"]);
}

#[test]
fn batches_are_sent_in_parts_and_every_result_is_printed() {
    let server = Server::start(|before, _| match before {
        0 => Answer::json(StatusCode::ACCEPTED, "{\"id\":\"1\"}\n{\"id\":\"2\"}\n"),
        1 => Answer::json(StatusCode::ACCEPTED, "{\"id\":\"3\"}\n"),
        _ => Answer::json(StatusCode::ACCEPTED, "{\"id\":\"4\"}\n{\"error\":\"no topic\"}\n"),
    });
    let lines: Vec<_> = (0..600).map(|index| format!("{{\"topic\":\"t\",\"data\":\"{index}\"}}\n")).collect();
    let lines = lines.concat();
    let run = publish(&server, &["--ndjson", "--id-only"], &lines);
    assert_eq!((run.code, run.out.as_str()), (0, "1\n2\n3\n"), "{run:?}");
    let requests = server.requests();
    assert_eq!(requests.iter().map(|request| request.body.lines().count()).collect::<Vec<_>>(), [500, 100]);
    assert_eq!(requests[0].body.clone() + &requests[1].body, lines);
    assert_eq!(
        (requests[0].line.as_str(), requests[0].header("content-type")),
        ("POST /events", "application/x-ndjson")
    );

    let run = publish(&server, &["--ndjson"], "{}\n{}\n");
    assert_eq!((run.code, run.out.as_str()), (3, "{\"id\":\"4\"}\n{\"error\":\"no topic\"}\n"));
}

#[test]
fn refusals_and_failures_are_told_apart() {
    let server = Server::start(|before, _| match before {
        0 => Answer::json(StatusCode::PAYLOAD_TOO_LARGE, r#"{"title":"Content Too Large"}"#),
        1 => Answer::with_body(StatusCode::UNAUTHORIZED, "text/plain", "who are you?"),
        _ => Answer::empty(StatusCode::SERVICE_UNAVAILABLE),
    });
    for (code, text) in [(3, "413 Payload Too Large: Content Too Large"), (3, "who are you?"), (1, "503")] {
        let run = publish(&server, &["demo", "x"], "");
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{run:?}");
        assert!(run.err.contains(text), "{run:?}");
    }
    // A port that was free a moment ago.
    let url = server.url();
    drop(server);
    let run = run(&["publish", &url, "demo", "x"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("no answer"), "{run:?}");
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    for args in [
        &["http://127.0.0.1:1"][..],
        &["http://127.0.0.1:1", "demo", "--ndjson"],
        &["http://127.0.0.1:1", "demo", "data", "--lines"],
        &["http://127.0.0.1:1", "", "data"],
        &["nonsense", "demo", "data"],
    ] {
        assert_eq!(run(&[&["publish"], args].concat()).code, 2, "{args:?}");
    }
}
