//! `sse-proxy health`, as a container's health check runs it.

use http::StatusCode;

use crate::{
    run,
    server::{Answer, Server},
};

#[test]
fn the_answer_decides_the_exit_code() {
    let server = Server::start(|before, _| match before {
        0 => Answer::with_body(StatusCode::OK, "text/plain", "ok\n"),
        1 => Answer::with_body(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n"),
        2 => Answer::json(StatusCode::UNAUTHORIZED, "{}"),
        _ => Answer::empty(StatusCode::FOUND),
    });
    let url = format!("{}/readyz", server.url());
    let ready = run(&["health", &url, "--token", "t"]);
    assert_eq!((ready.code, ready.out.as_str(), ready.err.as_str()), (0, "ok\n", ""), "{ready:?}");
    for said in ["503 Service Unavailable: draining", "401", "302"] {
        let run = run(&["health", &url]);
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
        assert!(run.err.contains(said), "{run:?}");
    }
    assert_eq!(server.requests()[0].header("authorization"), "Bearer t");
    assert!(server.requests().iter().all(|request| request.line == "GET /readyz"));
}

#[test]
fn readiness_is_what_is_asked_for_by_default() {
    let server = Server::start(|_, _| Answer::with_body(StatusCode::OK, "text/plain", "ok\n"));
    assert_eq!(run(&["health", &server.url()]).code, 0);
    assert_eq!(server.requests()[0].line, "GET /readyz");
}

#[test]
fn no_answer_is_a_failure_and_soon_told() {
    // Nobody accepts here, so the connection is made and stays silent.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/readyz", silent.local_addr().unwrap());
    let run_silent = run(&["health", &url, "--timeout", "300ms"]);
    assert_eq!(run_silent.code, 1);
    assert!(run_silent.err.contains("no answer within 300ms"), "{run_silent:?}");
    drop(silent);
    let refused = run(&["health", &url]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("no answer"), "{refused:?}");
    assert_eq!(run(&["health", "nonsense"]).code, 2);
}

#[test]
fn an_endless_answer_is_a_failure_too() {
    let server = Server::start(|_, _| Answer::stream("data: a\n\n").then_hold());
    let run = run(&["health", &format!("{}/events/a", server.url()), "--timeout", "300ms"]);
    assert_eq!(run.code, 1, "{run:?}");
}
