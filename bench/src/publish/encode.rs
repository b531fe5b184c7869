//! The publish request of each server under test.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::http::Response;
use crate::floor::{Frame, encode_request};

/// Where and in which dialect to publish.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The dialect.
    pub(crate) style: Style,
    /// One address, or one for each thread of the floor.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// The publish protocols of the servers under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Length-prefixed frames, each thread of the floor by itself.
    Floor,
    /// `POST /events/{topic}`, several events as NDJSON to `POST /events`.
    Proxy,
    /// `POST /pub/{topic}`, one message each.
    Nchan,
    /// `POST /{stream}`, several events as one append.
    DurableStreams,
    /// `POST /publish/` with items.
    Pushpin,
}

/// An event to be published.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) topic: u32,
    pub(super) data: String,
}

// === impl Style ===

impl Style {
    /// The most events one request can carry; those of [`Style::DurableStreams`] must share their topic.
    pub(crate) fn batch_limit(self) -> usize {
        if self == Self::Nchan { 1 } else { usize::MAX }
    }

    /// The requests that publish `events`, each with the number of the address it is for.
    pub(super) fn encode(self, events: &[Event], addresses: usize) -> Vec<(usize, Vec<u8>)> {
        let Some(first) = events.first() else { return Vec::new() };
        let topic = first.topic;
        match self {
            Self::Floor => floor(events, addresses),
            Self::Proxy if events.len() == 1 => {
                vec![(0, post(&format!("/events/t{topic}"), TEXT, &first.data))]
            }
            Self::Proxy => vec![(0, post("/events", "application/x-ndjson", &ndjson(events)))],
            Self::Nchan => vec![(0, post(&format!("/pub/t{topic}"), TEXT, &first.data))],
            Self::DurableStreams => {
                let body: String = events.iter().map(|e| e.data.as_str()).collect();
                vec![(0, post(&format!("/t{topic}"), TEXT, &body))]
            }
            Self::Pushpin => vec![(0, post("/publish/", "application/json", &items(events)))],
        }
    }

    /// Whether the answer says that all events were accepted.
    pub(crate) fn accepted(self, response: &Response, events: usize) -> bool {
        match self {
            Self::Floor => true,
            Self::Proxy if events > 1 => {
                (200..300).contains(&response.status) && count(&response.body, b"\"id\"") == events
            }
            _ => (200..300).contains(&response.status),
        }
    }

    /// From the text a subscriber read up to its first event: what names the place after that event.
    pub(crate) fn resume_point(self, text: &str) -> Option<String> {
        match self {
            Self::DurableStreams => {
                let (_, rest) = text.rsplit_once("\"streamNextOffset\":\"")?;
                Some(rest.split_once('"')?.0.into())
            }
            _ => text.lines().find_map(|l| l.strip_prefix("id:")).map(|id| id.trim().into()),
        }
    }
}

/// The content type of a single event.
pub(crate) const TEXT: &str = "text/plain";

/// A request with a body.
pub(crate) fn post(path: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn ndjson(events: &[Event]) -> String {
    let mut body = String::new();
    for event in events {
        // Payloads are plain ASCII without anything that JSON escapes.
        let _ = writeln!(body, "{{\"topic\":\"t{}\",\"data\":\"{}\"}}", event.topic, event.data);
    }
    body
}

fn items(events: &[Event]) -> String {
    let items: Vec<_> = events
        .iter()
        .map(|e| {
            format!(
                "{{\"channel\":\"t{}\",\"formats\":{{\"http-stream\":{{\"content\":\"data: {}\\n\\n\"}}}}}}",
                e.topic, e.data
            )
        })
        .collect();
    format!("{{\"items\":[{}]}}", items.join(","))
}

/// Topic 0 of a floor with several threads is spread over all of them; any other topic i is at thread i modulo their
/// number, as its subscriber is.
fn floor(events: &[Event], threads: usize) -> Vec<(usize, Vec<u8>)> {
    let frames = |thread: usize| -> Vec<_> {
        let mine = |e: &&Event| e.topic == 0 || e.topic as usize % threads == thread;
        events.iter().filter(mine).map(|e| Frame { topic: e.topic, data: e.data.as_bytes() }).collect()
    };
    (0..threads)
        .map(|thread| (thread, frames(thread)))
        .filter(|(_, frames)| !frames.is_empty())
        .map(|(thread, frames)| (thread, encode_request(&frames)))
        .collect()
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(haystack, needle).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(topics: &[u32]) -> Vec<Event> {
        topics.iter().map(|&topic| Event { topic, data: format!("d{topic}") }).collect()
    }

    #[test]
    fn a_single_event_is_a_plain_post() {
        let requests = Style::Proxy.encode(&events(&[3]), 1);
        let text = String::from_utf8(requests[0].1.clone()).unwrap();
        assert!(text.starts_with("POST /events/t3 HTTP/1.1\r\n") && text.ends_with("\r\n\r\nd3"), "{text}");
    }

    #[test]
    fn a_batch_is_one_json_object_a_line() {
        let body = ndjson(&events(&[1, 2]));
        let lines: Vec<serde_json::Value> = body.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines[1], serde_json::json!({"topic": "t2", "data": "d2"}));
    }

    #[test]
    fn pushpin_items_are_json() {
        let value: serde_json::Value = serde_json::from_str(&items(&events(&[1, 2]))).unwrap();
        assert_eq!(value["items"][0]["formats"]["http-stream"]["content"], "data: d1\n\n");
    }

    #[test]
    fn floor_threads_get_their_own_topics_and_all_of_topic_zero() {
        let requests = Style::Floor.encode(&events(&[0, 1, 2]), 2);
        assert_eq!(requests.len(), 2);
        let only_odd = Style::Floor.encode(&events(&[3]), 2);
        assert_eq!(only_odd.iter().map(|r| r.0).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_batch_with_a_refused_line_is_not_accepted() {
        let body = b"{\"id\":\"1\"}\n{\"error\":\"x\"}\n".to_vec();
        assert!(!Style::Proxy.accepted(&Response { status: 202, closes: false, body }, 2));
    }

    #[test]
    fn resume_points_are_found() {
        assert_eq!(Style::Proxy.resume_point("x\r\nid: 17-1\ndata: a\n\n").as_deref(), Some("17-1"));
        let control = "data:{\"streamNextOffset\":\"0_7\",\"streamCursor\":\"1\"}";
        assert_eq!(Style::DurableStreams.resume_point(control).as_deref(), Some("0_7"));
    }
}
