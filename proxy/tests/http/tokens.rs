//! What a token means for a stream that has begun, and for the log.

use serde_json::{Value, json};

use crate::support::{Proxy, stream::End, token, unix_now, with_tokens};

#[test]
fn a_stream_ends_with_its_token() {
    let proxy = Proxy::start(&with_tokens("leeway_sec = 0\nexpiry_warning_sec = 2\n"));
    let claims =
        |seconds: u64| json!({"sub": "s", "exp": unix_now() + seconds, "permissions": ["topic:read"]});
    let (short, long) = (token(&claims(4)), token(&claims(600)));
    let mut ends = proxy.subscribe("/events/a", &format!("authorization: Bearer {short}\r\n"));
    let mut stays = proxy.subscribe("/events/a", &format!("authorization: Bearer {long}\r\n"));
    let (events, end) = ends.rest();
    assert_eq!(end, End::Whole);
    let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["revenprox-token-expiring", "revenprox-token-expired"]);
    assert!(events.iter().all(|event| event.id.is_empty()));
    let warning: Value = serde_json::from_str(&events[0].data).unwrap();
    let left = warning["expires_in_seconds"].as_u64().unwrap();
    assert!(left <= 2, "{warning}");
    // The token is of no more use, and the other stream knows nothing of it.
    assert_eq!(proxy.get("/events/a", &format!("authorization: Bearer {short}\r\n")).status, 401);
    let writer = token(&json!({"sub": "w", "exp": unix_now() + 600, "permissions": ["topic:write"]}));
    assert_eq!(proxy.post("/events/a", &format!("authorization: Bearer {writer}\r\n"), "x").status, 202);
    assert_eq!(stays.next_data(), "x");
}

#[test]
fn a_warning_can_come_at_once_or_never() {
    let proxy = Proxy::start(&with_tokens("expiry_warning_sec = 3600\n"));
    let claims = json!({"sub": "s", "exp": unix_now() + 600});
    let header = format!("authorization: Bearer {}\r\n", token(&claims));
    let warning = proxy.subscribe("/events/a", &header).next().unwrap();
    assert_eq!(warning.event, "revenprox-token-expiring");
    let silent = Proxy::start(&with_tokens("leeway_sec = 0\nexpiry_warning_sec = 0\n"));
    let header = format!("authorization: Bearer {}\r\n", token(&json!({"sub": "s", "exp": unix_now() + 2})));
    let (events, end) = silent.subscribe("/events/a", &header).rest();
    assert_eq!((events.len(), events[0].event.as_str(), end), (1, "revenprox-token-expired", End::Whole));
}

#[test]
fn no_token_is_written_to_the_log() {
    let config = with_tokens("cookie_name = \"session\"\n");
    let proxy = Proxy::start(&format!("log_level = \"debug\"\n{config}"));
    let rights = json!({"sub": "alice", "exp": unix_now() + 600, "permissions": ["topic:read"]});
    let good = token(&rights);
    let expired = token(&json!({"sub": "bob", "exp": 1}));
    let mut forged = good.clone();
    forged.truncate(good.len() - 5);
    forged.push_str("AAAAA");
    let tokens = [good.as_str(), &expired, &forged, "eyJnonsense.eyJnonsense.nonsense"];
    for token in tokens {
        for (path, header) in [
            ("/events/a".to_owned(), format!("authorization: Bearer {token}\r\n")),
            (format!("/events/a?token={token}"), String::new()),
            (format!("/events?topic=a&token={token}"), String::new()),
            (format!("/nowhere?token={token}"), String::new()),
            ("/events/a".to_owned(), format!("cookie: session={token}\r\n")),
        ] {
            let mut client = proxy.client();
            client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n").as_bytes());
            client.head().unwrap();
            proxy.post(&path, &header, "x");
        }
    }
    // The streams have ended, and what is said of their ends is in the log.
    proxy.wait_for_log("stream ended", 4);
    proxy.wait_for_log("refused", tokens.len());
    for token in tokens {
        for part in token.split('.') {
            assert_eq!(proxy.log_lines(part), Vec::<String>::new());
        }
    }
    assert_eq!(proxy.log_lines(crate::support::SECRET), Vec::<String>::new());
}
