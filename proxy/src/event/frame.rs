//! The text/event-stream form of an event (WHATWG HTML, section 9.2 "Server-sent events").

use std::io::Write as _;

use memchr::{memchr, memchr2};

use super::Cursor;

/// The longest event name, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 255;

/// Event names that begin so are the proxy's own.
pub const RESERVED_PREFIX: &str = "revenprox-";

/// What a publisher hands in. The proxy gives it an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    name: Option<&'a str>,
    data: &'a str,
    retry_ms: Option<u32>,
}

/// Why something cannot be an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The name would end its field and begin another.
    #[error("the event name contains a line break")]
    NameHasLineBreak,
    /// Longer than [`EVENT_NAME_BYTES_MAX`].
    #[error("the event name has {0} bytes; at most {EVENT_NAME_BYTES_MAX} are allowed")]
    NameTooLong(usize),
    /// Begins with [`RESERVED_PREFIX`].
    #[error("event names that begin with {RESERVED_PREFIX} are reserved for the proxy")]
    NameReserved,
}

// === impl Event ===

impl<'a> Event<'a> {
    /// An event of any UTF-8 data. An empty name is no name, as it is for an `EventSource`.
    pub fn new(name: Option<&'a str>, data: &'a str, retry_ms: Option<u32>) -> Result<Self, EventError> {
        let name = name.filter(|n| !n.is_empty());
        if let Some(name) = name {
            if memchr2(b'\r', b'\n', name.as_bytes()).is_some() {
                return Err(EventError::NameHasLineBreak);
            }
            if name.len() > EVENT_NAME_BYTES_MAX {
                return Err(EventError::NameTooLong(name.len()));
            }
            if name.starts_with(RESERVED_PREFIX) {
                return Err(EventError::NameReserved);
            }
        }
        Ok(Self { name, data, retry_ms })
    }

    /// Appends everything that follows the id line, the closing blank line included. The id is known only
    /// once the topic's log is locked, and this part is written before that.
    pub fn write_after_id(&self, out: &mut Vec<u8>) {
        write_fields(self.name, self.data, self.retry_ms, out);
    }
}

/// Appends `id: …` and its line end.
pub fn write_id(id: &Cursor, out: &mut Vec<u8>) {
    writeln!(out, "id: {id}").expect("writing to a Vec cannot fail");
}

/// An event of the proxy itself, such as `revenprox-gap`, with one line of JSON as data.
pub fn own_event(
    name: &str,
    id: Option<&Cursor>,
    retry_ms: Option<u32>,
    data: &serde_json::Value,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    if let Some(id) = id {
        write_id(id, &mut out);
    }
    write_fields(Some(name), &data.to_string(), retry_ms, &mut out);
    out
}

fn write_fields(name: Option<&str>, data: &str, retry_ms: Option<u32>, out: &mut Vec<u8>) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    if let Some(ms) = retry_ms {
        writeln!(out, "retry: {ms}").expect("writing to a Vec cannot fail");
    }
    write_data(data.as_bytes(), out);
    out.push(b'\n');
}

/// One `data:` line for each line of the payload; CR, LF and CRLF all end a line, as they do for the reader.
fn write_data(mut rest: &[u8], out: &mut Vec<u8>) {
    // A payload seldom has a carriage return; without one a single search per line is enough.
    let has_cr = memchr(b'\r', rest).is_some();
    loop {
        let end = if has_cr { memchr2(b'\r', b'\n', rest) } else { memchr(b'\n', rest) };
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { return };
        let crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(crlf)..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, Origin};

    fn text(name: Option<&str>, data: &str, retry: Option<u32>) -> String {
        let mut out = Vec::new();
        write_id(&EventId { ms: 5, counter: 1, origin: Origin(0xab) }.into(), &mut out);
        Event::new(name, data, retry).unwrap().write_after_id(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_break_begins_a_data_line() {
        assert_eq!(text(None, "a", None), "id: 5-001-000000ab\ndata: a\n\n");
        assert_eq!(text(None, "", None), "id: 5-001-000000ab\ndata: \n\n");
        assert_eq!(
            text(Some("tick"), "a\r\nb\rc\nd\n", Some(9)),
            "id: 5-001-000000ab\nevent: tick\nretry: 9\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
        );
    }

    #[test]
    fn a_name_cannot_begin_another_field() {
        for name in ["a\ndata: x", "a\rb", "\n"] {
            assert_eq!(Event::new(Some(name), "", None), Err(EventError::NameHasLineBreak));
        }
        assert_eq!(Event::new(Some("revenprox-gap"), "", None), Err(EventError::NameReserved));
        assert_eq!(Event::new(Some(&"x".repeat(256)), "", None), Err(EventError::NameTooLong(256)));
        assert_eq!(Event::new(Some(""), "x", None), Event::new(None, "x", None));
    }
}
