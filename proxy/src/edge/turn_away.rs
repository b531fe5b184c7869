//! Turning a subscriber away for a reason that passes.
//!
//! A browser's `EventSource` that gets anything but a 200 event stream for its reconnect gives up for good. So
//! it gets one: a stream that says when to come back and why, and ends.

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, CONNECTION},
};
use serde_json::json;

use super::{Problem, Reply, reply::text_reply};
use crate::{
    config::RefuseWith,
    delivery::jittered_ms,
    event::{Cursor, frame::own_event},
};

/// Why a subscriber cannot be served now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// The instance drains.
    Draining,
    /// All connections are taken, or all of this address.
    Connections,
    /// This address tries too often.
    Rate,
    /// Memory runs short.
    Memory,
    /// The processor is busy.
    Cpu,
    /// The network is busy.
    Network,
    /// No file descriptor is left.
    Descriptors,
    /// Tokens cannot be verified at the moment.
    Verification,
}

// === impl Passing ===

impl Passing {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Draining,
        Self::Connections,
        Self::Rate,
        Self::Memory,
        Self::Cpu,
        Self::Network,
        Self::Descriptors,
        Self::Verification,
    ];

    /// The text that clients and metrics see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Connections => "connections",
            Self::Rate => "rate",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Network => "network",
            Self::Descriptors => "descriptors",
            Self::Verification => "verification",
        }
    }

    /// The status for those who are not turned away by a stream.
    pub fn status(self) -> StatusCode {
        if self == Self::Rate { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::SERVICE_UNAVAILABLE }
    }
}

/// The answer: a stream for those who ask for one by name, unless configured otherwise, else a status.
pub fn answer(why: Passing, detail: &str, wait: Duration, request: &HeaderMap, with: RefuseWith) -> Reply {
    let retry_ms = jittered_ms(wait);
    if with == RefuseWith::Event && names_event_stream(request) {
        let data = json!({ "reason": why.as_str(), "detail": detail });
        let text = own_event("revenprox-retry", place(request).as_ref(), Some(retry_ms), &data);
        let mut reply = text_reply(StatusCode::OK, "text/event-stream", text);
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return reply;
    }
    Problem::passing(why.status(), detail, u64::from(retry_ms).div_ceil(1000)).reply()
}

/// The client's own place, which is told back to it: some clients forget theirs at an event without one.
fn place(request: &HeaderMap) -> Option<Cursor> {
    request.get("last-event-id").and_then(|id| Cursor::parse(id.as_bytes()))
}

/// Whether `Accept` names `text/event-stream`.
pub fn names_event_stream(request: &HeaderMap) -> bool {
    ranges(request).any(|range| range.eq_ignore_ascii_case("text/event-stream"))
}

/// Whether `Accept` (RFC 9110, section 12.5.1) admits `text/event-stream`; an absent one admits everything.
pub fn accepts_event_stream(request: &HeaderMap) -> bool {
    let admits = |range: &str| {
        ["text/event-stream", "text/*", "*/*"].iter().any(|accepted| range.eq_ignore_ascii_case(accepted))
    };
    !request.contains_key(ACCEPT) || ranges(request).any(admits)
}

fn ranges(request: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = request.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(','));
    ranges.filter(|range| !refused(range)).map(|range| range.split(';').next().unwrap_or_default().trim())
}

/// A range with `q=0` names what is not accepted.
fn refused(range: &str) -> bool {
    let quality = range.split(';').skip(1).find_map(|parameter| parameter.trim().strip_prefix("q="));
    quality.is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn accept_is_understood() {
        for value in
            ["text/event-stream", "text/html, Text/Event-Stream;q=0.5", "*/*", "text/*", "a/b, */*;q=0.1"]
        {
            assert!(accepts_event_stream(&accept(value)), "{value}");
        }
        for value in ["text/html", "application/*", "text/event-stream;q=0", "", "*/*;q=0.000"] {
            assert!(!accepts_event_stream(&accept(value)), "{value}");
        }
        assert!(accepts_event_stream(&HeaderMap::new()));
        assert!(names_event_stream(&accept("text/event-stream")) && !names_event_stream(&accept("*/*")));
    }
}
