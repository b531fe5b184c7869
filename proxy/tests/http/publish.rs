//! Publishing: answers, keys, batches, permissions.

use serde_json::{Value, json};

use crate::support::{Proxy, Response, token, unix_now, wait_until, with_tokens};

const NDJSON: &str = "content-type: application/x-ndjson\r\n";

fn lines(response: &Response) -> Vec<Value> {
    response.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_accepted_event_has_an_id_and_its_topic_s_id() {
    let proxy = Proxy::start("");
    let answer = proxy.post("/events/01234567-89ab-cdef-0123-456789abcdef", "", "x");
    assert_eq!((answer.status, answer.header("content-type")), (202, Some("application/json")));
    let body = answer.json();
    assert_eq!(body["topic"], "01234567-89ab-cdef-0123-456789abcdef");
    let id: revenprox_proxy::event::EventId = body["id"].as_str().unwrap().parse().unwrap();
    assert!(id.ms.abs_diff(revenprox_proxy::hub::now_ms()) < 60_000);
}

#[test]
fn name_and_retry_come_by_query_or_header() {
    let proxy = Proxy::start("");
    let mut stream = proxy.subscribe("/events/a", "");
    proxy.post("/events/a?event=caf%C3%A9&retry=70", "revenprox-event: other\r\nrevenprox-retry: 9\r\n", "x");
    proxy.post("/events/a", "revenprox-event: by-header\r\nrevenprox-retry: 80\r\n", "y");
    proxy.post("/events/a?event=", "", "z");
    let seen: Vec<_> = (0..3)
        .map(|_| {
            let event = stream.next().unwrap();
            (event.event, event.data)
        })
        .collect();
    let wanted = [("café", "x"), ("by-header", "y"), ("message", "z")];
    assert!(seen.iter().map(|(event, data)| (event.as_str(), data.as_str())).eq(wanted), "{seen:?}");
    assert!(stream.lossy_text().contains("\nretry: 70\n"));
    assert_eq!(stream.retry(), Some(80));
}

#[test]
fn line_ends_and_odd_characters_arrive() {
    let proxy = Proxy::start("");
    let mut stream = proxy.subscribe("/events/a", "");
    let bodies = [
        "",
        "\n",
        " leading",
        "\u{feff}mark",
        "a\r\nb\rc\n",
        "zero\0",
        "id: 1\n\nevent: forged\ndata: x",
        "0\r\n\r\n",
    ];
    for body in bodies {
        proxy.publish("a", body);
    }
    for body in bodies {
        assert_eq!(stream.next_data(), body.replace("\r\n", "\n").replace('\r', "\n"));
    }
}

#[test]
fn a_key_makes_one_event_of_many_requests() {
    let proxy = Proxy::start("");
    let mut stream = proxy.subscribe("/events/a", "");
    let key = "idempotency-key: order 7\r\n";
    let first = proxy.post("/events/a", key, "x");
    let again = proxy.post("/events/a", key, "x");
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.json(), again.json());
    for (path, body) in [("/events/a", "other"), ("/events/a?event=n", "x"), ("/events/a?retry=1", "x")] {
        assert_eq!(proxy.post(path, key, body).status, 422);
    }
    let elsewhere = proxy.post("/events/b", key, "x");
    assert!(elsewhere.status == 202 && elsewhere.json() != first.json(), "{elsewhere:?}");
    let batch = "{\"topic\":\"a\",\"data\":\"x\",\"key\":\"order 7\"}\n{\"topic\":\"a\",\"data\":\"y\",\"key\":\"order 7\"}";
    let batch = proxy.post("/events", NDJSON, batch);
    assert_eq!(batch.status, 207);
    assert_eq!(lines(&batch)[0], first.json());
    assert_eq!(lines(&batch)[1]["status"], 422);
    proxy.publish("a", "last");
    assert_eq!(stream.take_data(2), ["x", "last"]);
}

#[test]
fn keys_are_forgotten_by_age_and_by_number() {
    let proxy = Proxy::start("[publish]\nidempotency_max_keys = 2\nidempotency_ttl_sec = 1\n");
    let publish = |key: u32| proxy.post("/events/a", &format!("idempotency-key: {key}\r\n"), "x").json();
    let first = publish(1);
    publish(2);
    publish(3);
    assert_ne!(publish(1), first, "the oldest is forgotten first");
    let third = publish(3);
    wait_until("a key to grow old", || publish(3) != third);
}

#[test]
fn each_line_of_a_batch_has_its_result() {
    let proxy = Proxy::start("");
    let mut stream = proxy.subscribe("/events?topic=a&topic=b", "");
    let good = "{\"topic\":\"a\",\"data\":\"text \\u00e9\\n\"}\r\n\n  {\"topic\":\"b\",\"data\":{\"n\":[1, 2.50]},\"event\":\"json\",\"retry\":5}\n{\"topic\":\"a\",\"data\":null}";
    let answer = proxy.post("/events", "content-type: Application/X-NDJSON; charset=utf-8\r\n", good);
    assert_eq!((answer.status, answer.header("content-type")), (202, Some("application/x-ndjson")));
    let ids: Vec<_> = lines(&answer).iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    let events: Vec<_> = (0..3).map(|_| stream.next().unwrap()).collect();
    assert!(events.iter().map(|event| &event.id).eq(&ids));
    // Whatever is no string goes as the text it is.
    assert!(events.iter().map(|event| event.data.as_str()).eq(["text é\n", "{\"n\":[1, 2.50]}", "null"]));
    assert_eq!(events[1].event, "json");
    let mixed =
        "{\"topic\":\"a\",\"data\":1}\nnonsense\n{\"topic\":\"\",\"data\":1}\n{\"topic\":\"b\",\"data\":2}";
    let answer = proxy.post("/events", NDJSON, mixed);
    assert_eq!(answer.status, 207);
    let results = lines(&answer);
    assert_eq!(results.len(), 4);
    assert!(results[0]["id"].is_string() && results[3]["id"].is_string());
    assert!(results[1..3].iter().all(|line| line["status"] == 400 && line["error"].is_string()));
    assert_eq!(stream.take_data(2), ["1", "2"]);
}

#[test]
fn to_subscribe_is_not_to_publish() {
    let proxy = Proxy::start(&with_tokens(""));
    let bearer = |rights: Value| {
        let mut claims = json!({"sub": "s", "exp": unix_now() + 600});
        claims.as_object_mut().unwrap().extend(rights.as_object().unwrap().clone());
        format!("authorization: Bearer {}\r\n", token(&claims))
    };
    let reader = bearer(json!({"permissions": ["topic:read"]}));
    let writer = bearer(json!({"permissions": ["topic:write"]}));
    let some = bearer(json!({"revenprox": {"publish": ["orders-*"], "subscribe": ["orders-1"]}}));
    let neither = bearer(json!({"permissions": []}));
    for (headers, topic, may_read, may_write) in [
        (&reader, "a", true, false),
        (&writer, "a", false, true),
        (&some, "orders-1", true, true),
        (&some, "orders-2", false, true),
        (&some, "a", false, false),
        (&neither, "a", false, false),
        (&bearer(json!({})), "a", true, false),
    ] {
        let path = format!("/events/{topic}");
        let mut client = proxy.client();
        client.send(format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes());
        let head = client.head().unwrap().status;
        let written = proxy.post(&path, headers, "x").status;
        let wanted = (if may_read { 200 } else { 403 }, if may_write { 202 } else { 403 });
        assert_eq!((head, written), wanted, "{topic} {headers}");
    }
    assert_eq!(proxy.post("/events/a", "", "x").status, 401);
    let batch =
        "{\"topic\":\"orders-1\",\"data\":1}\n{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"a\",\"data\":2}";
    let answer = proxy.post("/events", &format!("{NDJSON}{some}"), batch);
    assert_eq!(answer.status, 207);
    let results = lines(&answer);
    assert!(results[0]["id"].is_string() && results[1]["status"] == 403 && results[2]["status"] == 403);
    let nobody = proxy.post("/events", NDJSON, batch);
    assert!(nobody.status == 207 && lines(&nobody).iter().all(|line| line["status"] == 401), "{nobody:?}");
}
