//! One event in a log, in the form that most subscribers receive: an HTTP/1.1 chunk (RFC 9112, section 7.1)
//! that holds the event's text/event-stream block.
//!
//! Chunks delimit themselves, so the log needs no index: a reader hops from chunk to chunk, and subscribers
//! that are not to get chunks (HTTP/1.0, HTTP/2, TLS) are sent the part between.

use std::{io::Write as _, ops::Range};

use crate::event::{Cursor, EventId, cursor::CURSOR_BYTES_MAX};

/// What ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

const CRLF: &[u8] = b"\r\n";
const ID_FIELD: &[u8] = b"id: ";
/// A chunk size line: at most 8 hex digits and CRLF.
const SIZE_LINE_MAX: usize = 10;

/// Where one chunk lies within the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The whole chunk.
    pub chunk: Range<usize>,
    /// The event-stream block inside it.
    pub frame: Range<usize>,
}

// === impl Record ===

impl Record {
    /// The record that begins at `at`. Logs contain whole chunks only, so there is one unless `at` is the end.
    pub fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let mut len = 0;
        let mut cursor = at;
        loop {
            match *bytes.get(cursor)? {
                b'\r' => break,
                digit => len = len << 4 | usize::from(hex_value(digit)),
            }
            cursor += 1;
        }
        let frame = cursor + CRLF.len()..cursor + CRLF.len() + len;
        Some(Self { chunk: at..frame.end + CRLF.len(), frame })
    }

    /// The event's id.
    pub fn id(&self, bytes: &[u8]) -> EventId {
        self.cursor(bytes).id
    }

    /// How far a reader of the log has come with the event, which every record in a log begins with.
    pub fn cursor(&self, bytes: &[u8]) -> Cursor {
        let text = &bytes[self.frame.start + ID_FIELD.len()..self.frame.end];
        let end = text.iter().take(CURSOR_BYTES_MAX + 1).position(|b| *b == b'\n');
        end.and_then(|end| Cursor::parse(&text[..end])).expect("a record begins with its id")
    }

    /// The event's block without its id line.
    pub fn after_id<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let frame = &bytes[self.frame.clone()];
        let end = frame.iter().position(|b| *b == b'\n').map_or(frame.len(), |end| end + 1);
        &frame[end..]
    }
}

/// All records of `bytes` from `at` on.
pub fn records(bytes: &[u8], at: usize) -> impl Iterator<Item = Record> + '_ {
    std::iter::successors(Record::at(bytes, at), |last| Record::at(bytes, last.chunk.end))
}

/// The chunk size line for a frame of `len` bytes.
pub fn size_line(len: usize) -> SizeLine {
    let mut line = SizeLine { bytes: [0; SIZE_LINE_MAX], len: 0 };
    let mut room = &mut line.bytes[..];
    write!(room, "{len:x}\r\n").expect("events are far below 4 GiB");
    let left = room.len();
    line.len = SIZE_LINE_MAX - left;
    line
}

/// A chunk size line without an allocation.
pub struct SizeLine {
    bytes: [u8; SIZE_LINE_MAX],
    len: usize,
}

impl AsRef<[u8]> for SizeLine {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A frame as a chunk of its own.
pub fn chunked(frame: &[u8]) -> Vec<u8> {
    [size_line(frame.len()).as_ref(), frame, CRLF].concat()
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_from_chunk_to_chunk() {
        let id = "id: 1703894400000-001-5e0c91aa\n";
        let frames: Vec<String> =
            [0, 1, 300, 70_000].iter().map(|n| format!("{id}data: {}\n\n", "x".repeat(*n))).collect();
        let bytes: Vec<u8> = frames.iter().flat_map(|f| chunked(f.as_bytes())).collect();
        let found: Vec<_> = records(&bytes, 0).collect();
        assert_eq!(found.len(), frames.len());
        for (record, frame) in found.iter().zip(&frames) {
            assert_eq!(&bytes[record.frame.clone()], frame.as_bytes());
            assert_eq!(record.id(&bytes).to_string(), "1703894400000-001-5e0c91aa");
        }
        assert_eq!(found[3].chunk.end, bytes.len());
        assert_eq!(Record::at(&bytes, bytes.len()), None);
    }
}
