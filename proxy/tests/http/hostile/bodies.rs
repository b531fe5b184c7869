//! Lengths that lie, chunks that are none, requests within requests, and content that is no event.

use super::{Case, Then, get, post, request};

/// What an attacker wants to be taken for a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    [lengths(), codings(), chunks(), subscribes(), content(), batches()].into_iter().flatten().collect()
}

fn publish(headers: &str, body: &str) -> Vec<u8> {
    [request("POST /events/a HTTP/1.1", headers), body.as_bytes().to_vec()].concat()
}

fn lengths() -> Vec<Case> {
    let bad = [
        "-1",
        "+1",
        "0x1",
        "1.0",
        "1 1",
        "one",
        "",
        "1, 2",
        "18446744073709551616",
        "99999999999999999999999",
    ];
    let case = |length: &&str| {
        let bytes = publish(&format!("content-length: {length}\r\n"), "x");
        Case::new(format!("the length {length:?}"), bytes, &[400])
    };
    let mut cases: Vec<_> = bad.iter().map(case).collect();
    let two = |a, b| publish(&format!("content-length: {a}\r\ncontent-length: {b}\r\n"), "x");
    cases.extend([
        Case::new("two lengths", two(1, 2), &[400]),
        Case::new("two lengths, the longer one first", two(30, 1), &[400]),
        Case::new("the same length twice", two(1, 1), &[202]).or(&[400]),
        Case::new("a length of 4097", publish("content-length: 4097\r\n", ""), &[413]),
        Case::new("a length of 2^63", publish("content-length: 9223372036854775808\r\n", ""), &[413])
            .or(&[400]),
        Case::new("a body of 4097 bytes", post("/events/a", "", &[b'x'; 4097]), &[413]),
        Case::new("a body of 1 MB", post("/events/a", "", &vec![b'x'; 1 << 20]), &[413]),
        Case::new("no length", publish("", ""), &[202]),
        Case::new("a body shorter than its length", publish("content-length: 10\r\n", "short"), &[408]),
        Case::new("a body that ends early", publish("content-length: 10\r\n", "short"), &[400])
            .or(&[])
            .then(Then::Close),
        Case::new(
            "a body longer than its length",
            publish("content-length: 1\r\n", "xGARBAGE\r\n\r\n"),
            &[202, 400],
        ),
        Case::new(
            "a body that goes on as a request",
            publish("content-length: 1\r\n", "xGET /nothing HTTP/1.1\r\nhost: x\r\n\r\n"),
            &[202, 404],
        ),
    ]);
    cases
}

fn codings() -> Vec<Case> {
    let bad = [
        "identity",
        "xchunked",
        "chunkedx",
        "chunked, identity",
        "chunked, gzip",
        "\"chunked\"",
        "chunked;q=1",
        "\u{b}chunked",
        "",
    ];
    let whole = format!("0\r\n\r\n{SMUGGLED}");
    let mut cases: Vec<_> = bad
        .iter()
        .map(|coding| {
            let bytes = publish(&format!("transfer-encoding: {coding}\r\n"), &whole);
            Case::new(format!("the coding {coding:?}"), bytes, &[400])
        })
        .collect();
    let lying = whole.len();
    let old = format!("POST /events/a HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{whole}");
    cases.extend([
        // Chunks count (RFC 9112, section 6.1), and nothing behind them is read.
        Case::new(
            "a length that hides a request from who reads chunks",
            publish(&format!("content-length: {lying}\r\ntransfer-encoding: chunked\r\n"), &whole),
            &[202],
        )
        .or(&[400]),
        Case::new(
            "chunks that hide a request from who reads lengths",
            publish(
                "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
                &format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n{SMUGGLED}", SMUGGLED.len()),
            ),
            &[202],
        )
        .or(&[400]),
        Case::new(
            "a coding that only some understand",
            publish("transfer-encoding: chunked\r\ntransfer-encoding: x\r\n", &whole),
            &[400],
        ),
        Case::new("chunks in HTTP/1.0", old, &[400]),
    ]);
    cases
}

fn chunks() -> Vec<Case> {
    let chunked = |body: &str| publish("transfer-encoding: chunked\r\n", body);
    let bad = [
        "zz\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "\r\nx\r\n0\r\n\r\n",
        "1\r\nxx\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "1\rx\r\n0\r\n\r\n",
        "10000000000000001\r\nx\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nx\r\n0\r\n\r\n",
        "1;a=b\nx\r\n0\r\n\r\n",
    ];
    let case = |body: &&str| Case::new(format!("the chunks {body:?}"), chunked(body), &[400]);
    let mut cases: Vec<_> = bad.iter().map(case).collect();
    let extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(20_000));
    let trailers = "t: x\r\n".repeat(2000);
    cases.extend([
        Case::new(
            "a chunk of 4097 bytes",
            chunked(&format!("1001\r\n{}\r\n0\r\n\r\n", "x".repeat(4097))),
            &[413],
        ),
        Case::new("endless chunks", chunked(&"1\r\nx\r\n".repeat(5000)), &[413]),
        Case::new("a chunk of 2^64-1 bytes", chunked("ffffffffffffffff\r\nx"), &[413]).or(&[400]).or(&[408]),
        Case::new("chunks that stop", chunked("5\r\nhel"), &[408]),
        Case::new("chunks that end early", chunked("5\r\nhel"), &[400]).or(&[]).then(Then::Close),
        Case::new("a chunk extension of 20 kB", chunked(&extension), &[400]),
        Case::new("2000 trailers", chunked(&format!("1\r\nx\r\n0\r\n{trailers}\r\n")), &[400]),
        Case::new("trailers", chunked("1\r\nx\r\n0\r\na: b\r\n\r\n"), &[202]),
    ]);
    cases
}

fn subscribes() -> Vec<Case> {
    let with = |headers: &str, body: &str| [get("/events/a", headers), body.as_bytes().to_vec()].concat();
    vec![
        Case::new("a subscribe with a body", with("content-length: 1\r\n", "x"), &[400]),
        Case::new(
            "a subscribe with chunks",
            with("transfer-encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n"),
            &[400],
        ),
        Case::new("a subscribe with a body to come", with("content-length: 1\r\n", ""), &[400]),
        Case::new("a request behind a subscribe", with("", SMUGGLED), &[200]),
        Case::new("garbage behind a subscribe", with("", &"\0".repeat(5000)), &[200]),
        Case::new("a subscribe in HTTP/1.0", "GET /events/a HTTP/1.0\r\n\r\n", &[200]),
    ]
}

fn content() -> Vec<Case> {
    let bodies: [(&str, &[u8]); 6] = [
        ("not UTF-8", b"\xff"),
        ("in UTF-16", b"\xff\xfea\0b\0"),
        ("cut within a character", b"\xe2\x82"),
        ("an overlong zero", b"\xc0\x80"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("beyond Unicode", b"\xf4\x90\x80\x80"),
    ];
    let mut cases: Vec<_> = bodies
        .iter()
        .map(|(name, body)| Case::new(format!("data {name}"), post("/events/a", "", body), &[400]))
        .collect();
    cases.extend([
        Case::new("data of 2048 bytes", post("/events/a", "", &[b'x'; 2048]), &[202]),
        Case::new("data of 2049 bytes", post("/events/a", "", &[b'x'; 2049]), &[413]),
        Case::new("data with zeros", post("/events/a", "", b"a\0b"), &[202]),
        Case::new(
            "too much, if told to go on",
            post("/events/a", "expect: 100-continue\r\n", &[b'x'; 4097]),
            &[413],
        ),
    ]);
    cases
}

fn batches() -> Vec<Case> {
    let ndjson = "content-type: application/x-ndjson\r\n";
    let batch = |lines: &[u8]| post("/events", ndjson, lines);
    let event = "{\"topic\":\"a\",\"data\":\"x\"}\n";
    let typed =
        |content_type: &str| post("/events", &format!("content-type: {content_type}\r\n"), event.as_bytes());
    let mut cases = vec![
        Case::new("a batch without a type", post("/events", "", event.as_bytes()), &[415]),
        Case::new("a batch of JSON", typed("application/json"), &[415]),
        Case::new("a batch of a bad type", typed(";"), &[415]),
        Case::new("an empty batch", batch(b""), &[400]),
        Case::new("a batch of blank lines", batch(b"\n\r\n \n\n"), &[400]),
        Case::new("a batch of 8", batch(event.repeat(8).as_bytes()), &[202]),
        Case::new("a batch of 9", batch(event.repeat(9).as_bytes()), &[413]),
        Case::new("a batch of 4097 bytes", batch(&[b' '; 4097]), &[413]),
        Case::new(
            "deep data",
            batch(format!("{{\"topic\":\"a\",\"data\":{}{}}}", "[".repeat(900), "]".repeat(900)).as_bytes()),
            &[202],
        ),
        Case::new(
            "deep data that does not end",
            batch(format!("{{\"topic\":\"a\",\"data\":{}", "[".repeat(3000)).as_bytes()),
            &[207],
        ),
        Case::new("a deep topic", batch(format!("{{\"topic\":{}", "{\"a\":".repeat(600)).as_bytes()), &[207]),
    ];
    let long = format!("{{\"topic\":\"a\",\"data\":1,\"key\":\"{}\"}}", "k".repeat(256));
    let lines: [&[u8]; 24] = [
        b"garbage",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"\"a\"",
        b"\0",
        b"\xff",
        b"{\"topic\":\"a\"}",
        b"{\"data\":\"x\"}",
        b"{\"topic\":1,\"data\":\"x\"}",
        b"{\"topic\":\"\",\"data\":\"x\"}",
        b"{\"topic\":\"a\\nb\",\"data\":\"x\"}",
        b"{\"topic\":\"a\",\"data\":\"x\",\"more\":1}",
        b"{\"topic\":\"a\",\"topic\":\"b\",\"data\":\"x\"}",
        b"{\"topic\":\"a\",\"data\":\"\\ud800\"}",
        b"{\"topic\":\"a\",\"data\":\"\xff\"}",
        b"{\"topic\":\"a\",\"data\":1e}",
        b"{\"topic\":\"a\",\"data\":\"x\",\"retry\":-1}",
        b"{\"topic\":\"a\",\"data\":\"x\",\"retry\":4294967296}",
        b"{\"topic\":\"a\",\"data\":\"x\",\"event\":\"a\\nb\"}",
        b"{\"topic\":\"a\",\"data\":\"x\",\"event\":\"revenprox-gap\"}",
        b"{\"topic\":\"a\",\"data\":\"x\",\"key\":\"\"}",
        long.as_bytes(),
    ];
    cases.extend(
        lines.iter().map(|line| Case::new(format!("the line {}", line.escape_ascii()), batch(line), &[207])),
    );
    cases
}
