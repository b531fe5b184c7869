//! Changes of the configuration under running streams.

use serde_json::json;

use crate::support::{Proxy, SECRET, secure::Identity, stream::End, token, unix_now, wait_until};

#[test]
fn limits_origins_and_delays_change_under_a_stream() {
    let proxy = Proxy::start("[http]\nmax_connections = 1\n");
    let mut stream = proxy.subscribe("/events/a", "");
    let (events, end) = proxy.subscribe("/events/a", "").rest();
    assert_eq!((events[0].event.as_str(), end), ("revenprox-retry", End::Whole));
    proxy.reconfigure(
        "[http]\nmax_connections = 2\nretry_ms = 1234\ncors_allowed_origins = [\"https://a.example\"]\n",
    );
    wait_until("the origins to change", || {
        proxy.get("/events/", "").header("access-control-allow-origin").is_none()
    });
    let mut second = proxy.subscribe("/events/a", "origin: https://a.example\r\n");
    second.wait_for_text("retry: 1234\n");
    assert_eq!(second.head.get("access-control-allow-origin"), Some("https://a.example"));
    proxy.publish("a", "x");
    assert_eq!((stream.next_data(), second.next_data()), ("x".to_owned(), "x".to_owned()));
}

#[test]
fn a_configuration_with_a_mistake_changes_nothing() {
    let proxy = Proxy::start("[http]\nretry_ms = 1111\n");
    let file = proxy.folder().join("proxy.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("1111", "\"soon\"")).unwrap();
    proxy.signal(rustix::process::Signal::HUP);
    proxy.wait_for_log("the old one stays in effect", 1);
    proxy.subscribe("/events/a", "").wait_for_text("retry: 1111\n");
    assert_eq!(proxy.metric("revenprox_config_reloads_total{outcome=\"rejected\"}"), 1);
}

#[test]
fn keys_are_exchanged_under_a_stream() {
    let with_key = |secret: &str| {
        format!(
            "[jwt_verifier]\nrequire_authentication = true\n[auth]\nkeys = [{{ algorithm = \"HS256\", secret = \"{secret}\" }}]\n"
        )
    };
    let other = SECRET.replace('a', "o");
    let proxy = Proxy::start(&with_key(SECRET));
    let rights = ["topic:read", "topic:write"];
    let token = token(&json!({"sub": "s", "exp": unix_now() + 600, "permissions": rights}));
    let bearer = format!("authorization: Bearer {token}\r\n");
    let mut stream = proxy.subscribe("/events/a", &bearer);
    proxy.reconfigure(&with_key(&other));
    wait_until("the old key to be gone", || proxy.post("/events/a", &bearer, "x").status == 401);
    assert_eq!(proxy.get("/events/a", &bearer).status, 401);
    proxy.reconfigure(&with_key(SECRET));
    wait_until("the key to be back", || proxy.post("/events/a", &bearer, "last").status == 202);
    while stream.next_data() != "last" {}
}

#[test]
fn a_certificate_is_exchanged_under_a_stream() {
    let mut identity = Identity::new();
    let proxy = Proxy::start(&identity.config());
    let address = proxy.other_address();
    let mut client = identity.connect(address).unwrap();
    client.send(b"GET /events/a HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut stream = crate::support::Stream::begin(client);
    identity.renew();
    assert!(identity.connect(address).is_err(), "the new certificate is not there yet");
    proxy.reload();
    wait_until("the new certificate", || identity.connect(address).is_ok());
    proxy.publish("a", "x");
    assert_eq!(stream.next_data(), "x");
}
