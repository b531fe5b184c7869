//! Ordinary requests with random damage. Nothing is known of the answers but that they come, or the end does.

use super::{Case, Then, get, post};

/// The same pseudo-random numbers each time (xorshift64, Marsaglia 2003).
pub(super) fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |last| {
        let mut x = *last;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        Some(x)
    })
    .skip(10)
}

pub(super) fn cases(count: usize) -> Vec<Case> {
    let whole = [
        get("/events/a", "accept: text/event-stream\r\nlast-event-id: 5-001-00000000\r\n"),
        get("/events?topic=a&topic=b&since=5m", ""),
        post("/events/a?event=tick&retry=5", "idempotency-key: k\r\n", b"data"),
        post("/events", "content-type: application/x-ndjson\r\n", b"{\"topic\":\"a\",\"data\":[1,\"x\"]}\n"),
        b"POST /events/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\n\r\n"
            .to_vec(),
    ];
    let mut random = numbers(0x5eed);
    let mut below = |n: usize| usize::try_from(random.next().unwrap() % n as u64).unwrap();
    let pieces: [&[u8]; 10] =
        [b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"%", b"\xff", b"content-length: 5\r\n", b"HTTP/1.1"];
    let mut damaged = || {
        let mut bytes = whole[below(whole.len())].clone();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] ^= 1 << below(8),
                1 => drop(bytes.remove(at)),
                2 => drop(bytes.splice(at..at, pieces[below(pieces.len())].iter().copied())),
                _ => {
                    let end = (at + below(20)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        bytes
    };
    (0..count)
        .map(|i| {
            let bytes = damaged();
            Case::new(format!("mutation {i}: {}", bytes.escape_ascii()), bytes, &[]).then(Then::CloseBlindly)
        })
        .collect()
}
