//! Bytes that are not HTTP/1.1, requests that stop, and requests that do not wait.

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{Case, Then, get, post};

pub(super) fn cases() -> Vec<Case> {
    [noise(), http2(), truncations(), pipelines()].into_iter().flatten().collect()
}

fn noise() -> Vec<Case> {
    let random: Vec<u8> = super::mutations::numbers(7).take(5000).map(|n| n.to_le_bytes()[3]).collect();
    vec![
        Case::new("nothing", "", &[]),
        Case::new("nothing at all", "", &[]).then(Then::Close),
        Case::new("empty lines", "\r\n".repeat(100), &[]),
        Case::new(
            "empty lines before a request",
            [b"\r\n\r\n".to_vec(), get("/nothing", "")].concat(),
            &[404],
        ),
        Case::new("zeros", vec![0; 100], &[400]),
        Case::new("ones", vec![0xff; 20_000], &[400]),
        Case::new("noise", random, &[400]),
        Case::new("a TLS client", client_hello(), &[400]),
        Case::new("half a TLS client", &client_hello()[..50], &[400]),
        Case::new("a Redis client", "*1\r\n$4\r\nPING\r\n", &[400]),
        Case::new("an SMB client", b"\0\0\0\x85\xffSMB\x72\0\0\0\0".to_vec(), &[400]),
    ]
}

fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

fn http2() -> Vec<Case> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let with =
        |name: &str, rest: &[u8]| Case::new(name, [PREFACE, rest].concat(), &[]).then(Then::CloseBlindly);
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let settings = frame(4, 0, 0, b"");
    let after_settings = |rest: &[u8]| [&settings[..], rest].concat();
    vec![
        Case::new("half a preface", &PREFACE[..10], &[]).or(&[400]).then(Then::Close),
        Case::new("a preface gone wrong", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[]).then(Then::CloseBlindly),
        with("a preface alone", b""),
        with("a preface and garbage", &[0xff; 100]),
        with("a preface and HTTP/1.1", &get("/health", "")),
        with("a frame that is too long", &after_settings(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])),
        with("data without a request", &after_settings(&frame(0, 1, 1, b"x"))),
        with("headers that are no HPACK", &after_settings(&frame(1, 5, 1, &[0xff; 20]))),
        with("headers on stream 0", &after_settings(&frame(1, 5, 0, &[0x82]))),
        with("a request without a path", &after_settings(&frame(1, 5, 1, &[0x82]))),
        with("a continuation of nothing", &after_settings(&frame(9, 4, 1, &[0x82]))),
        with("settings of a bad length", &frame(4, 0, 0, &[0; 5])),
        with("a window update of zero", &after_settings(&frame(8, 0, 0, &[0; 4]))),
        with("a ping of a bad length", &after_settings(&frame(6, 0, 0, &[0; 7]))),
        with("pushed by a client", &after_settings(&frame(5, 4, 1, &[0, 0, 0, 2, 0x82]))),
        with("a thousand resets", &after_settings(&frame(3, 0, 1, &[0, 0, 0, 8]).repeat(1000))),
        with("a thousand settings", &settings.repeat(1000)),
        with("frames of an unknown kind", &after_settings(&frame(0xbe, 0xff, 1, b"?").repeat(100))),
    ]
}

fn truncations() -> Vec<Case> {
    let whole = post("/events/a", "accept: */*\r\n", b"some data");
    let head = whole.len() - "some data".len();
    let mut cases = Vec::new();
    for length in (1..whole.len()).step_by(7) {
        let part = &whole[..length];
        let closed = Case::new(format!("{length} bytes and the end"), part, &[]).or(&[400]);
        cases.push(closed.then(Then::Close));
        // Without an end it is the time limits that count.
        let wanted: &[u16] = if length < head { &[] } else { &[408] };
        cases.push(Case::new(format!("{length} bytes and silence"), part, wanted));
    }
    cases
}

fn pipelines() -> Vec<Case> {
    let health = get("/health", "");
    let event = post("/events/a", "", b"x");
    let last = get("/health", "connection: close\r\n");
    vec![
        Case::new("three requests at once", health.repeat(3), &[200; 3]),
        Case::new("fifty publishes at once", event.repeat(50), &[202; 50]),
        Case::new("a publish and a look", [event.clone(), health.clone()].concat(), &[202, 200]),
        Case::new("a look and a subscribe", [health.clone(), get("/events/a", "")].concat(), &[200, 200]),
        Case::new(
            "a request and garbage",
            [health.clone(), b"GARBAGE\r\n\r\n".to_vec()].concat(),
            &[200, 400],
        ),
        Case::new("a request after the last", [last, health.clone()].concat(), &[200]),
        Case::new("two and a half requests", [health.repeat(2), health[..9].to_vec()].concat(), &[200; 2]),
    ]
}
