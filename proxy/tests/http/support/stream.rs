//! A subscriber that checks the framing of what it gets and reads events as the standard says.

use std::collections::VecDeque;

use revenprox_proxy::client::parser::{Event, Parser};

use super::{
    Client,
    client::{Head, find},
};

/// A stream of events.
pub(crate) struct Stream {
    pub(crate) head: Head,
    pub(crate) client: Client,
    /// The event-stream text so far, without the chunks around it.
    pub(crate) text: Vec<u8>,
    parser: Parser,
    events: VecDeque<Event>,
    ended: Option<End>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the last chunk, or, where there are none, with the connection.
    Whole,
    /// With the connection, in the middle of a chunked body.
    Cut,
}

// === impl Stream ===

impl Stream {
    /// Reads the head of an answer that has to be a stream.
    pub(crate) fn begin(mut client: Client) -> Self {
        let head = client.head().expect("an answer");
        assert_eq!(head.status, 200, "{head:?}: {}", String::from_utf8_lossy(&client.buffer));
        assert_eq!(head.get("content-type"), Some("text/event-stream"), "{head:?}");
        Self { head, client, text: Vec::new(), parser: Parser::new(), events: VecDeque::new(), ended: None }
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.ended.is_some() {
                return None;
            }
            self.read_more();
        }
    }

    /// The next event, which must be an ordinary one, as its data.
    pub(crate) fn next_data(&mut self) -> String {
        let event = self.next().expect("an event before the end of the stream");
        assert_eq!(event.event, "message", "{event:?}");
        event.data
    }

    /// The next `count` data.
    pub(crate) fn take_data(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next_data()).collect()
    }

    /// Everything that has been read and not been taken. What a client that leaves now has seen ends with it.
    pub(crate) fn seen(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    /// Reads until the stream ends, and returns the events on the way.
    pub(crate) fn rest(&mut self) -> (Vec<Event>, End) {
        let events = std::iter::from_fn(|| self.next()).collect();
        (events, self.ended.unwrap())
    }

    /// Reads until the text contains something.
    pub(crate) fn wait_for_text(&mut self, text: &str) {
        while find(&self.text, text.as_bytes()).is_none() {
            assert!(self.ended.is_none(), "{text:?} does not come in {:?}", self.lossy_text());
            self.read_more();
        }
    }

    pub(crate) fn lossy_text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// The reconnection time that the stream asked for last, in milliseconds.
    pub(crate) fn retry(&self) -> Option<u64> {
        self.parser.retry()
    }

    /// What a client that reconnects sends as `Last-Event-ID`.
    pub(crate) fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    fn read_more(&mut self) {
        if self.client.buffer.is_empty() && !self.client.fill() {
            self.ended = Some(self.end_with_connection());
            return;
        }
        let before = self.text.len();
        let used = match (self.head.get("transfer-encoding"), self.head.get("content-length")) {
            (Some("chunked"), None) => {
                let (used, last) = dechunk(&self.client.buffer, &mut self.text);
                if last {
                    self.ended = Some(End::Whole);
                }
                used
            }
            (None, _) => {
                self.text.extend_from_slice(&self.client.buffer);
                self.client.buffer.len()
            }
            other => panic!("{other:?}"),
        };
        self.client.buffer.drain(..used);
        self.events.extend(self.parser.feed(&self.text[before..]).unwrap());
        let length = self.head.get("content-length").map(|length| length.parse().unwrap());
        if length == Some(self.text.len()) {
            self.ended = Some(End::Whole);
        } else if used == 0 && self.ended.is_none() && !self.client.fill() {
            self.ended = Some(End::Cut);
        }
    }

    fn end_with_connection(&self) -> End {
        let framed = self.head.get("transfer-encoding").or(self.head.get("content-length")).is_some();
        if framed { End::Cut } else { End::Whole }
    }
}

/// Takes whole chunks (RFC 9112, section 7.1) off some bytes. Returns how many bytes they were, and whether
/// the last one was among them.
pub(crate) fn dechunk(bytes: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
    let mut used = 0;
    while let Some(line) = find(&bytes[used..], b"\r\n") {
        let digits = std::str::from_utf8(&bytes[used..used + line]).unwrap();
        assert!(!digits.starts_with('+'), "{digits}");
        let size = usize::from_str_radix(digits, 16).unwrap();
        let start = used + line + 2;
        let Some(chunk) = bytes.get(start..start + size + 2) else { break };
        assert!(chunk.ends_with(b"\r\n"), "a chunk of {size} bytes is not that long");
        out.extend_from_slice(&chunk[..size]);
        used = start + size + 2;
        if size == 0 {
            return (used, true);
        }
    }
    (used, false)
}
