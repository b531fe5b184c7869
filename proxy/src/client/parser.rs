//! An incremental parser of event streams.
//!
//! Implements "Parsing an event stream" and "Interpreting an event stream" of the HTML standard (WHATWG HTML,
//! sections 9.2.5 and 9.2.6) for any split of the stream into chunks.

use std::mem;

use memchr::memchr2;

/// The byte order mark that one stream may start with, in UTF-8.
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The bytes that a stream may have pending before it is given up, unless [`Parser::with_limit`] says otherwise.
pub const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An event as it is dispatched to listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The last event id of the stream at this event; empty if there is none.
    pub id: String,
    /// The type, `message` unless the stream named another.
    pub event: String,
    /// The data lines, joined by line feeds.
    pub data: String,
}

/// An event stream cannot be parsed within the bound: a line, or the data of one event, is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream has more than {limit} bytes")]
pub struct TooLong {
    /// The bound, in bytes.
    pub limit: usize,
}

/// Turns the bytes of one event stream into events.
#[derive(Debug, Clone)]
pub struct Parser {
    /// The bytes of a line whose end has not come yet.
    line: Vec<u8>,
    start: Start,
    /// The last byte was a carriage return, so a line feed now belongs to the same line end.
    after_cr: bool,
    data: String,
    event: String,
    id: String,
    last_event_id: String,
    retry: Option<u64>,
    limit: usize,
}

/// How much of a byte order mark has been seen at the start of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The first bytes of one.
    Mark(usize),
    Over,
}

// === impl Parser ===

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser at the start of a stream.
    pub fn new() -> Self {
        Self::with_last_event_id(String::new())
    }

    /// A parser at the start of a stream that resumes after an event. The standard starts every stream with an
    /// empty id, with which an event without an id would forget where the last stream ended; browsers start
    /// with the id they have, and so does this.
    pub fn with_last_event_id(id: String) -> Self {
        Self {
            line: Vec::new(),
            start: Start::Mark(0),
            after_cr: false,
            data: String::new(),
            event: String::new(),
            id: id.clone(),
            last_event_id: id,
            retry: None,
            limit: PENDING_BYTES_MAX,
        }
    }

    /// Bounds the bytes of one line, and of the data of one event.
    #[must_use]
    pub fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// The id that a reconnect would send as `Last-Event-ID`; empty if there is none. It changes when an event
    /// ends, even one without data.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection time that the stream asked for last, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Takes the next bytes of the stream and returns the events that they complete. What is left when the
    /// stream ends is an incomplete event, which the standard discards: drop the parser.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        let mut rest = self.skip_mark(chunk);
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr2(b'\r', b'\n', rest) {
            self.push(&rest[..end])?;
            self.end_line(&mut events)?;
            let is_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            match rest.first() {
                Some(b'\n') if is_cr => rest = &rest[1..],
                None => self.after_cr = is_cr,
                _ => {}
            }
        }
        self.push(rest)?;
        Ok(events)
    }

    /// Leaves out one byte order mark at the start. The bytes of an incomplete one that turns out to be none
    /// are part of the first line.
    fn skip_mark<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let Start::Mark(seen) = self.start else { return chunk };
        let matching = chunk.iter().zip(&BOM[seen..]).take_while(|(byte, mark)| byte == mark).count();
        let seen = seen + matching;
        if seen == BOM.len() {
            self.start = Start::Over;
        } else if matching < chunk.len() {
            self.start = Start::Over;
            self.line.extend_from_slice(&BOM[..seen]);
        } else {
            self.start = Start::Mark(seen);
        }
        &chunk[matching..]
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// A line has ended. Line ends are ASCII, so decoding line by line gives what decoding the stream gives.
    fn end_line(&mut self, events: &mut Vec<Event>) -> Result<(), TooLong> {
        let line = mem::take(&mut self.line);
        if line.is_empty() {
            events.extend(self.dispatch());
        } else {
            let text = String::from_utf8_lossy(&line);
            match text.split_once(':') {
                Some(("", _)) => {}
                Some((field, value)) => self.field(field, value.strip_prefix(' ').unwrap_or(value))?,
                None => self.field(&text, "")?,
            }
        }
        self.line = line;
        self.line.clear();
        Ok(())
    }

    fn field(&mut self, field: &str, value: &str) -> Result<(), TooLong> {
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.data.len() + value.len() >= self.limit {
                    return Err(TooLong { limit: self.limit });
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                // More digits than fit are still a number, and a longer time than any client lives.
                self.retry = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.id.clone_into(&mut self.last_event_id);
        let event = mem::take(&mut self.event);
        let mut data = mem::take(&mut self.data);
        // Only data lines add to the buffer, and each ends with a line feed.
        data.pop()?;
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(Event { id: self.last_event_id.clone(), event, data })
    }
}

#[cfg(test)]
mod tests;
