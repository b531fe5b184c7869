//! The admin listener: who may ask, what it answers, and what its orders do.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    Client, Proxy, Response, SECRET, Stream, stream::End, token, unix_now, wait_until, with_tokens,
};

const ADMIN: &str = "[admin]\nbind_address = \"127.0.0.1:0\"\n";

/// A request to the admin listener, such as `GET /admin/topics`.
fn ask(proxy: &Proxy, request: &str, headers: &str, body: &str) -> Response {
    let mut client = Client::connect(proxy.other_address());
    let length = body.len();
    client.send(
        format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
            .as_bytes(),
    );
    client.response()
}

fn read(proxy: &Proxy, path: &str) -> Value {
    let answer = ask(proxy, &format!("GET {path}"), "", "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    answer.json()
}

#[test]
fn only_who_has_the_token_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "\n first \n").unwrap();
    let proxy = Proxy::start(&format!("{ADMIN}token_file = {file:?}\n"));
    let status = |header: &str| ask(&proxy, "GET /admin/topics", header, "").status;
    assert_eq!(status("authorization: Bearer first\r\n"), 200);
    for header in
        ["", "authorization: Bearer firs\r\n", "authorization: Bearer first1\r\n", "authorization: first\r\n"]
    {
        let answer = ask(&proxy, "POST /admin/drain", header, "");
        assert_eq!((answer.status, answer.header("content-type")), (401, Some("application/problem+json")));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"revenprox\""), "{header}");
    }
    // Health and metrics there are no exception.
    assert_eq!(ask(&proxy, "GET /metrics", "", "").status, 401);
    let new = folder.path().join("new");
    fs::write(&new, "second").unwrap();
    fs::rename(&new, &file).unwrap();
    proxy.reload();
    wait_until("the new token to count", || status("authorization: Bearer second\r\n") == 200);
    assert_eq!(status("authorization: Bearer first\r\n"), 401);
    // A file that is lost does not open the door.
    fs::remove_file(&file).unwrap();
    proxy.signal(rustix::process::Signal::HUP);
    proxy.wait_for_log("the new configuration has a problem", 1);
    assert_eq!(status(""), 401);
    assert_eq!(status("authorization: Bearer second\r\n"), 200);
}

#[test]
fn topics_and_connections_are_listed() {
    let proxy = Proxy::start(ADMIN);
    let id = proxy.publish("orders", "1");
    proxy.publish("orders", "2");
    let _streams =
        [proxy.subscribe("/events/orders", ""), proxy.subscribe("/events?topic=orders&topic=b", "")];
    let topics = read(&proxy, "/admin/topics");
    assert_eq!(topics["total"], 2, "{topics}");
    let listed = topics["topics"].as_array().unwrap();
    let orders = listed.iter().find(|topic| topic["name"] == "orders").unwrap();
    assert_eq!((&orders["subscribers"], &orders["events_kept"]), (&json!(2), &json!(2)), "{orders}");
    assert_eq!(orders["oldest_event"], id);
    assert_eq!(orders["id"].as_str().map(str::len), Some(32), "{orders}");
    assert_eq!(read(&proxy, "/admin/topics?limit=1")["topics"].as_array().unwrap().len(), 1);

    let connections = read(&proxy, "/admin/connections");
    assert_eq!(connections["total"], 2, "{connections}");
    let listed = connections["connections"].as_array().unwrap();
    let mut topics: Vec<Vec<_>> = listed
        .iter()
        .map(|c| c["topics"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect())
        .collect();
    for names in &mut topics {
        names.sort_unstable();
    }
    topics.sort();
    assert_eq!(topics, [vec!["b", "orders"], vec!["orders"]]);
    assert!(listed.iter().all(|c| c["address"] == "127.0.0.1"));
    assert_eq!(read(&proxy, "/admin/connections?limit=1")["connections"].as_array().unwrap().len(), 1);
    for limit in ["0", "-1", "x", "100001", "%FF"] {
        for list in ["topics", "connections"] {
            let answer = ask(&proxy, &format!("GET /admin/{list}?limit={limit}"), "", "");
            assert_eq!(answer.status, 400, "{list} {limit}");
        }
    }
    assert_eq!(read(&proxy, "/admin/peers"), json!({ "mesh": false, "peers": [] }));
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    let proxy = Proxy::start(&with_tokens(&format!("{ADMIN}token = \"a secret of the admins\"\n")));
    let header = "authorization: Bearer a secret of the admins\r\n";
    let answer = ask(&proxy, "GET /admin/config", header, "");
    let config = answer.json();
    assert_eq!(config["admin"]["token"], "[redacted]");
    assert_eq!(config["auth"]["keys"][0]["secret"], "[redacted]", "{config}");
    assert_eq!(config["jwt_verifier"]["require_authentication"], true);
    assert_eq!(config["http"]["keepalive_interval_sec"], 30, "defaults are shown");
    for secret in [SECRET, "a secret of the admins"] {
        assert!(!answer.body.contains(secret), "{secret} is shown");
        assert_eq!(proxy.log_lines(secret), Vec::<String>::new());
    }
}

#[test]
fn the_log_level_can_be_changed() {
    let proxy = Proxy::start(ADMIN);
    assert_eq!(read(&proxy, "/admin/log-level"), json!({ "level": "info" }));
    assert_eq!(proxy.log_lines("\"level\":\"DEBUG\""), Vec::<String>::new());
    let answer = ask(&proxy, "PUT /admin/log-level", "", "{\"level\":\"debug\"}");
    assert_eq!((answer.status, answer.json()), (200, json!({ "level": "debug" })));
    assert_eq!(read(&proxy, "/admin/log-level"), json!({ "level": "debug" }));
    drop(proxy.subscribe("/events/a", ""));
    proxy.wait_for_log("\"level\":\"DEBUG\"", 1);
    for body in ["", "{}", "{\"level\":\"loud\"}", "{\"level\":\"info\",\"more\":1}", "[", "\"info\""] {
        assert_eq!(ask(&proxy, "PUT /admin/log-level", "", body).status, 400, "{body}");
    }
    let long = format!("{{\"level\":\"{}\"}}", "x".repeat(17 * 1024));
    assert_eq!(ask(&proxy, "PUT /admin/log-level", "", &long).status, 413);
}

#[test]
fn a_drain_can_be_ordered_once() {
    let proxy = Proxy::start(&format!("[http]\ndrain_window_sec = 1\n{ADMIN}"));
    let mut stream = proxy.subscribe("/events/a", "");
    assert_eq!(ask(&proxy, "POST /admin/drain", "", "").json(), json!({ "started": true }));
    assert_eq!(ask(&proxy, "POST /admin/drain", "", "").json(), json!({ "started": false }));
    assert_eq!(ask(&proxy, "GET /readyz", "", "").status, 503);
    let (_, end) = stream.rest();
    assert_eq!(end, End::Whole);
    // It goes on to serve until it is told to end.
    assert_eq!(ask(&proxy, "GET /livez", "", "").status, 200);
    let again = proxy.subscribe("/events/a", "").next().unwrap();
    assert!(again.event == "revenprox-retry" && again.data.contains("draining"), "{again:?}");
}

#[test]
fn each_address_has_its_methods() {
    let proxy = Proxy::start(ADMIN);
    for (path, allowed) in [
        ("/admin/topics", "GET"),
        ("/admin/connections", "GET"),
        ("/admin/peers", "GET"),
        ("/admin/config", "GET"),
        ("/admin/log-level", "GET, PUT"),
        ("/admin/drain", "POST"),
        ("/admin/revoke", "POST"),
        ("/health", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
    ] {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"].iter().filter(|m| !allowed.contains(**m)) {
            let answer = ask(&proxy, &format!("{method} {path}"), "", "");
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
        }
    }
    for path in ["/", "/admin", "/admin/", "/admin/topics/", "/admin/Topics", "/events/a", "/events"] {
        assert_eq!(ask(&proxy, &format!("GET {path}"), "", "").status, 404, "{path}");
    }
    // Clients do not reach it.
    for path in ["topics", "connections", "config", "log-level", "peers"] {
        assert_eq!(proxy.get(&format!("/admin/{path}"), "").status, 404);
    }
    assert_eq!(proxy.post("/admin/drain", "", "").status, 404);
    assert_eq!(proxy.get("/readyz", "").status, 200, "nothing of this has ended it");
}

#[test]
fn health_and_metrics_can_be_for_operators_only() {
    let shared = Proxy::start(ADMIN);
    let only = Proxy::start(&format!("{ADMIN}exclusive = true\n"));
    for path in ["/health", "/livez", "/readyz", "/metrics"] {
        assert_eq!(ask(&shared, &format!("GET {path}"), "", "").status, 200, "{path}");
        assert_eq!(shared.get(path, "").status, 200, "{path}");
        assert_eq!(ask(&only, &format!("GET {path}"), "", "").status, 200, "{path}");
        assert_eq!(only.get(path, "").status, 404, "{path}");
    }
    assert!(ask(&only, "GET /metrics", "", "").body.contains("\nrevenprox_connections_active 0\n"));
    only.publish("a", "events are for everybody still");
}

fn claims(sub: &str, jti: &str) -> Value {
    json!({ "sub": sub, "jti": jti, "exp": unix_now() + 600, "permissions": ["topic:read", "topic:write"] })
}

fn bearer(claims: &Value) -> String {
    format!("authorization: Bearer {}\r\n", token(claims))
}

/// Expects that the stream has ended with an event that tells why.
fn assert_revoked(mut stream: Stream) {
    let (events, end) = stream.rest();
    let last = events.last().expect("a last event");
    assert_eq!((last.event.as_str(), end), ("revenprox-closed", End::Whole), "{last:?}");
    assert!(last.data.contains("revoked") && last.id.is_empty(), "{last:?}");
}

#[test]
fn a_revocation_ends_streams_and_refuses_the_token() {
    let proxy = Proxy::start(&with_tokens(ADMIN));
    let open = |header: &str| proxy.subscribe("/events/a", header);
    let [alice1, alice2, bob1, bob2] = [("alice", "1"), ("alice", "2"), ("bob", "3"), ("bob", "4")]
        .map(|(sub, jti)| bearer(&claims(sub, jti)));
    let (a1, a2, b1, mut b2) = (open(&alice1), open(&alice2), open(&bob1), open(&bob2));
    let order = |body: &str| ask(&proxy, "POST /admin/revoke", "", body);
    let answer = order("{\"sub\":\"alice\",\"expires_in_seconds\":600}");
    assert_eq!((answer.status, answer.json()), (200, json!({ "revoked_for_seconds": 600 })));
    assert_revoked(a1);
    assert_revoked(a2);
    assert_eq!(order("{\"jti\":\"3\"}").json(), json!({ "revoked_for_seconds": 86_400 }));
    assert_revoked(b1);
    for header in [&alice1, &alice2, &bob1] {
        let answer = proxy.get("/events/a", header);
        assert!(answer.status == 401 && answer.body.contains("revoked"), "{answer:?}");
        assert_eq!(proxy.post("/events/a", header, "x").status, 401);
    }
    assert_eq!(proxy.post("/events/a", &bob2, "for bob").status, 202);
    assert_eq!(b2.next_data(), "for bob");
    assert_eq!(proxy.metric("revenprox_revocations"), 2);
}

#[test]
fn a_whole_key_can_be_revoked() {
    let key = |kid: &str| format!("{{ kid = \"{kid}\", algorithm = \"HS256\", secret = \"{SECRET}\" }}");
    let proxy = Proxy::start(&format!(
        "[jwt_verifier]\nrequire_authentication = true\n[auth]\nkeys = [{}, {}]\n{ADMIN}",
        key("old"),
        key("new"),
    ));
    let signed = |kid: &str| {
        let header = jsonwebtoken::Header { kid: Some(kid.into()), ..jsonwebtoken::Header::default() };
        let secret = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        let token = jsonwebtoken::encode(&header, &claims("alice", kid), &secret).unwrap();
        format!("authorization: Bearer {token}\r\n")
    };
    let (old, mut new) =
        (proxy.subscribe("/events/a", &signed("old")), proxy.subscribe("/events/a", &signed("new")));
    assert_eq!(ask(&proxy, "POST /admin/revoke", "", "{\"kid\":\"old\"}").status, 200);
    assert_revoked(old);
    assert_eq!(proxy.get("/events/a", &signed("old")).status, 401);
    assert_eq!(proxy.post("/events/a", &signed("new"), "x").status, 202);
    assert_eq!(new.next_data(), "x");
}

#[test]
fn a_revocation_has_to_be_clear() {
    let proxy = Proxy::start(&with_tokens(ADMIN));
    let long = format!("{{\"sub\":\"{}\"}}", "x".repeat(256));
    let header = bearer(&claims("alice", "1"));
    let mut stream = proxy.subscribe("/events/a", &header);
    for body in [
        "",
        "{}",
        "{\"sub\":\"alice\",\"jti\":\"1\"}",
        "{\"sub\":1}",
        "{\"user\":\"alice\"}",
        "{\"sub\":\"alice\",\"expires_in_seconds\":-1}",
        "{\"sub\":\"alice\",\"expires_in_seconds\":0}",
        "{\"sub\":\"\"}",
        &long,
        "sub=alice",
        "[\"alice\"]",
    ] {
        let answer = ask(&proxy, "POST /admin/revoke", "", body);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, Some("application/problem+json")),
            "{body}"
        );
    }
    assert_eq!(proxy.metric("revenprox_revocations"), 0);
    assert_eq!(proxy.post("/events/a", &header, "still here").status, 202);
    assert_eq!(stream.next_data(), "still here");
}
