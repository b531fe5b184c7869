//! Request lines, headers, and what stands in paths and queries.

use super::{Case, get, post, request};

pub(super) fn cases() -> Vec<Case> {
    [lines(), methods(), paths(), headers(), limits(), parameters()].into_iter().flatten().collect()
}

fn lines() -> Vec<Case> {
    let bad = [
        "GARBAGE",
        "GET",
        "GET /health",
        "GET /health ",
        "GET /health HTTP/1.1 more",
        "GET  /health HTTP/1.1",
        "GET /health  HTTP/1.1",
        "GET\t/health\tHTTP/1.1",
        "GET /health HTTP/2.0",
        "GET /health HTTP/1.2",
        "GET /health HTTP/0.9",
        "GET /health HTTP/1",
        "GET /health HTTP/11",
        "GET /health http/1.1",
        "GET /health HTTX/1.1",
        "/health HTTP/1.1",
        " GET /health HTTP/1.1",
        "G\0T /health HTTP/1.1",
        "G@T /health HTTP/1.1",
        "GET /hea\0lth HTTP/1.1",
        "GET /hea\u{7f}lth HTTP/1.1",
        "GET /hea\rlth HTTP/1.1",
        "GET /hea lth HTTP/1.1",
        "GET http://[::1/health HTTP/1.1",
        "GET http:///health HTTP/1.1",
        "SSH-2.0-OpenSSH_9.2",
        "EHLO example.org",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2",
    ];
    bad.iter().map(|line| Case::new(format!("{line:?}"), request(line, ""), &[400])).collect()
}

fn methods() -> Vec<Case> {
    let refused = ["PUT", "DELETE", "PATCH", "TRACE", "BREW", "get", "SUBSCRIBE", "QUERY"];
    let mut cases: Vec<_> = refused
        .iter()
        .map(|method| {
            let line = format!("{method} /events/a HTTP/1.1");
            Case::new(format!("{method} of a topic"), request(&line, ""), &[405])
        })
        .collect();
    cases.extend([
        Case::new("POST of health", post("/health", "", b""), &[405]),
        Case::new("DELETE of readyz", request("DELETE /readyz HTTP/1.1", ""), &[405]),
        Case::new("CONNECT", request("CONNECT x:80 HTTP/1.1", ""), &[404]).or(&[400]),
        Case::new("OPTIONS of everything", request("OPTIONS * HTTP/1.1", ""), &[404]),
        Case::new("GET of everything", request("GET * HTTP/1.1", ""), &[404]),
    ]);
    cases
}

fn paths() -> Vec<Case> {
    let not_found =
        ["/", "/nothing", "/eventsx", "//events/a", "/Events/a", "/events%2Fa", "/metrics/x", "/?/events/a"];
    let bad = [
        "/events",
        "/events/",
        "/events?",
        "/events?topic",
        "/events?topic=",
        "/events?topic=a&topic=",
        "/events?Topic=a",
        "/events?topic=%00",
        "/events?topic=a%0Ab",
        "/events?topic=a&topic=b&topic=c&topic=d&topic=e",
        "/events?topic=%FF",
        "/events?topic=a&topic=b%C3",
        "/events/a?lastEventId=%FF",
        "/events/a?last_event_id=%C3",
        "/events/a?since=%FF",
        "/events/%00",
        "/events/a%0Ab",
        "/events/a%0Db",
        "/events/%7F",
        "/events/%1b[2J",
        "/events/%C2%85",
        "/events/%FF",
        "/events/%C3",
        "/events/%C0%AF",
        "/events/%ED%A0%80",
        "/events/%F4%90%80%80",
    ];
    let mut cases = Vec::new();
    cases.extend(not_found.iter().map(|path| Case::new(format!("{path} is nowhere"), get(path, ""), &[404])));
    cases.extend(bad.iter().map(|path| Case::new(format!("{path} is no topic"), get(path, ""), &[400])));
    let long = |n: usize| format!("/events/{}", "x".repeat(n));
    cases.extend([
        Case::new("a topic of 256 bytes", get(&long(256), ""), &[400]),
        Case::new("a topic of 255 bytes", get(&long(255), ""), &[200]),
        Case::new("a topic of 256 encoded bytes", get(&format!("/events/{}", "%41".repeat(256)), ""), &[400]),
        Case::new("a lone percent sign", get("/events/%", ""), &[200]),
        Case::new("half an encoded byte", get("/events/%4", ""), &[200]),
        Case::new("encoding that is none", get("/events/%zz", ""), &[200]),
        Case::new("a publish to no topic", post("/events/", "", b"x"), &[400]),
        Case::new("a publish to a bad topic", post("/events/%FF", "", b"x"), &[400]),
        Case::new("an absolute target", get("http://elsewhere/nothing", ""), &[404]),
        Case::new("a target with a fragment", get("/nothing#x", ""), &[404]),
    ]);
    cases
}

fn headers() -> Vec<Case> {
    let bad = [
        "no colon",
        ": no name",
        "a name: x",
        "name : x",
        "na(me: x",
        "na\0me: x",
        "näme: x",
        "name: a\0b",
        "name: a\u{1}b",
        "name: a\u{7f}b",
        "name: a\rb",
        "name: a\r\n folded",
    ];
    let case = |line: &&str| {
        Case::new(format!("the header {line:?}"), get("/health", &format!("{line}\r\n")), &[400])
    };
    let mut cases: Vec<_> = bad.iter().map(case).collect();
    cases.extend([
        Case::new("a header that is not ASCII", get("/health", "name: é\r\n"), &[200]),
        Case::new(
            "a header that is not UTF-8",
            b"GET /health HTTP/1.1\r\nhost: x\r\na: \xff\r\n\r\n".to_vec(),
            &[200],
        ),
        Case::new("no host", "GET /health HTTP/1.1\r\n\r\n", &[400]),
        Case::new("no host in HTTP/1.0", "GET /health HTTP/1.0\r\n\r\n", &[200]),
        Case::new("two hosts", get("/health", "host: y\r\n"), &[400]),
        Case::new("a host with a user", "GET /health HTTP/1.1\r\nhost: a@b\r\n\r\n", &[400]),
        Case::new("a list of hosts", "GET /health HTTP/1.1\r\nhost: a, b\r\n\r\n", &[400]),
        Case::new("an empty host", "GET /health HTTP/1.1\r\nhost:\r\n\r\n", &[200]),
        Case::new("bare line feeds", "GET /health HTTP/1.1\nhost: x\n\n", &[200]).or(&[400]),
        Case::new(
            "an upgrade to h2c",
            get("/health", "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAAA\r\n"),
            &[200],
        ),
        Case::new(
            "an upgrade to WebSocket",
            get("/health", "connection: upgrade\r\nupgrade: websocket\r\n"),
            &[200],
        ),
    ]);
    cases
}

fn limits() -> Vec<Case> {
    let many = |n: usize| "x: y\r\n".repeat(n);
    let long = |n: usize| format!("name: {}\r\n", "v".repeat(n));
    let query = |n: usize| format!("/health?{}", "q".repeat(n));
    vec![
        Case::new("16 headers", get("/health", &many(15)), &[200]),
        Case::new("17 headers", get("/health", &many(16)), &[413]),
        Case::new("70 headers", get("/health", &many(69)), &[413]),
        Case::new("100 headers", get("/health", &many(100)), &[431]),
        Case::new("a header of 1024 bytes", get("/health", &long(1020)), &[200]),
        Case::new("a header of 1025 bytes", get("/health", &long(1021)), &[413]),
        Case::new("a header of 30 kB", get("/health", &long(30_000)), &[431]),
        Case::new(
            "a header name of 1025 bytes",
            get("/health", &format!("{}: x\r\n", "n".repeat(1024))),
            &[413],
        ),
        Case::new("a request line of 1024 bytes", get(&query(1024 - 21), ""), &[200]),
        Case::new("a request line of 1025 bytes", get(&query(1025 - 21), ""), &[413]),
        Case::new("a request line of 30 kB", get(&query(30_000), ""), &[431]).or(&[414]),
        Case::new("a request line of 100 kB", get(&query(100_000), ""), &[431]).or(&[414]),
        Case::new("a method of 2000 bytes", request(&format!("{} / HTTP/1.1", "M".repeat(2000)), ""), &[413])
            .or(&[400]),
        Case::new("a head that never ends", "GET / HTTP/1.1\r\n".to_owned() + &many(20_000), &[431]),
        Case::new("a line that never ends", "G".repeat(200_000), &[431]).or(&[400]),
    ]
}

fn parameters() -> Vec<Case> {
    let mut cases = Vec::new();
    let accepts = [
        "text/html",
        "application/json, text/plain",
        "",
        ",",
        "text/event-stream;q=0",
        "event-stream",
        "\u{e9}",
    ];
    cases.extend(accepts.iter().map(|accept| {
        Case::new(format!("accepts {accept:?}"), get("/events/a", &format!("accept: {accept}\r\n")), &[406])
    }));
    let sinces =
        ["", "5", "-5s", "5%20s", "latest", "5y", "1999", "2024-13-01T00:00:00Z", "99999999999999999999s"];
    cases.extend(sinces.iter().map(|since| {
        Case::new(format!("since {since:?}"), get(&format!("/events/a?since={since}"), ""), &[400])
    }));
    let retries = ["", "-1", "+1", "1.5", "abc", "0x10", "4294967296", "1%00", "1%202"];
    cases.extend(retries.iter().map(|retry| {
        Case::new(format!("retry {retry:?}"), post(&format!("/events/a?retry={retry}"), "", b"x"), &[400])
    }));
    let long = "n".repeat(256);
    let names = ["a%0Ab", "a%0Db", "a%0D%0Adata:%20x", "revenprox-gap", "revenprox-", long.as_str()];
    cases.extend(names.iter().map(|name| {
        Case::new(
            format!("the event name {name:?}"),
            post(&format!("/events/a?event={name}"), "", b"x"),
            &[400],
        )
    }));
    let long = "k".repeat(256);
    cases.extend(["", "\t", "k\u{e9}y", long.as_str()].iter().map(|key| {
        Case::new(
            format!("the key {key:?}"),
            post("/events/a", &format!("idempotency-key: {key}\r\n"), b"x"),
            &[400],
        )
    }));
    cases.extend([
        Case::new(
            "an event name by header that is not UTF-8",
            [
                &b"POST /events/a HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nrevenprox-event: \xff\r\n\r\n"
                    [..],
            ]
            .concat(),
            &[400],
        ),
        Case::new(
            "a reserved name by header",
            post("/events/a", "revenprox-event: revenprox-x\r\n", b"x"),
            &[400],
        ),
        Case::new("a bad retry by header", post("/events/a", "revenprox-retry: soon\r\n", b"x"), &[400]),
        Case::new(
            "an id that is not UTF-8",
            b"GET /events/a HTTP/1.1\r\nhost: x\r\nlast-event-id: \xff\xfe\r\n\r\n".to_vec(),
            &[200],
        ),
        Case::new(
            "an id of 1000 bytes",
            get("/events/a", &format!("last-event-id: {}\r\n", "9".repeat(1000))),
            &[200],
        ),
    ]);
    cases
}
