//! What travels: the payload that carries its own sequence number and time, the frame around it, and the scanner
//! that finds payloads again in whatever framing a server puts around them.

use memchr::memchr;

/// Starts every payload and occurs nowhere else, neither in the padding nor in any server's framing.
const MARK: u8 = b'~';

/// Bytes of a payload's fixed part: mark, publisher (2 hex), sequence (8 hex), microseconds (14 hex).
pub(crate) const HEADER: usize = 1 + 2 + 8 + 14;

/// The head with which the proxy, and therefore the floor, answers a subscriber.
pub(crate) const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: text/event-stream\r\n\
    cache-control: no-cache, no-transform\r\n\
    connection: keep-alive\r\n\
    x-accel-buffering: no\r\n\
    access-control-allow-origin: *\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// One payload as it was found in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Which publisher connection numbered it.
    pub(crate) publisher: u8,
    /// Its number, counted from zero per publisher (per topic where each subscriber has a topic).
    pub(crate) sequence: u32,
    /// When it was scheduled to be published, microseconds of the monotonic clock.
    pub(crate) stamp: u64,
}

// === impl Found ===

impl Found {
    /// The payload that `data` begins with.
    pub(crate) fn parse(data: &str) -> Option<Self> {
        let fixed = data.as_bytes().get(..HEADER)?;
        if fixed[0] == MARK { parse(&fixed[1..]) } else { None }
    }
}

/// A payload of `len` bytes (at least [`HEADER`]).
pub(crate) fn payload(publisher: u8, sequence: u32, stamp: u64, len: usize) -> String {
    let mut text = format!("~{publisher:02x}{sequence:08x}{:014x}", stamp & 0xff_ffff_ffff_ffff);
    while text.len() < len {
        text.push('x');
    }
    text
}

/// Appends one event in the proxy's wire form: an HTTP/1.1 chunk with an id line and a data line.
pub(crate) fn encode_chunk(out: &mut Vec<u8>, number: u64, data: &[u8]) {
    const FIXED: usize = "id: 1703894400000-000-a1b2c3d4\ndata: \n\n".len();
    let millis = 1_703_894_400_000 + number / 1000;
    let head = format!("{:x}\r\nid: {millis:013}-{:03}-a1b2c3d4\ndata: ", FIXED + data.len(), number % 1000);
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n\r\n");
}

/// The beginning of a payload that a read cut off, kept until the next read of the same connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Carry {
    bytes: [u8; HEADER],
    len: u8,
}

// === impl Carry ===

impl Carry {
    /// Scans `buffer[HEADER..HEADER + read]`, the bytes just read, after what is carried over; the first `HEADER`
    /// bytes of the buffer are room for that. Calls `each` for every payload.
    pub(crate) fn scan(&mut self, buffer: &mut [u8], read: usize, mut each: impl FnMut(Found)) {
        let start = HEADER - usize::from(self.len);
        buffer[start..HEADER].copy_from_slice(&self.bytes[..usize::from(self.len)]);
        self.len = 0;
        let mut rest = &buffer[start..HEADER + read];
        while let Some(at) = memchr(MARK, rest) {
            rest = &rest[at..];
            if rest.len() < HEADER {
                self.keep(rest);
                return;
            }
            if let Some(found) = parse(&rest[1..HEADER]) {
                each(found);
            }
            rest = &rest[HEADER..];
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        self.bytes[..rest.len()].copy_from_slice(rest);
        self.len = u8::try_from(rest.len()).expect("a carry is shorter than a payload header");
    }
}

fn parse(fixed: &[u8]) -> Option<Found> {
    Some(Found {
        publisher: u8::try_from(hex(&fixed[..2])?).ok()?,
        sequence: u32::try_from(hex(&fixed[2..10])?).ok()?,
        stamp: hex(&fixed[10..])?,
    })
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan_in_pieces(stream: &[u8], piece: usize) -> Vec<Found> {
        let (mut carry, mut found) = (Carry::default(), Vec::new());
        for part in stream.chunks(piece) {
            let mut buffer = vec![0; HEADER + part.len()];
            buffer[HEADER..].copy_from_slice(part);
            carry.scan(&mut buffer, part.len(), |f| found.push(f));
        }
        found
    }

    #[test]
    fn finds_every_payload_however_the_stream_is_cut() {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for sequence in 0..20 {
            let stamp = 1_000_000 + u64::from(sequence);
            encode_chunk(&mut stream, u64::from(sequence), payload(3, sequence, stamp, 40).as_bytes());
            expected.push(Found { publisher: 3, sequence, stamp });
        }
        for piece in 1..stream.len() {
            assert_eq!(scan_in_pieces(&stream, piece), expected, "cut every {piece} bytes");
        }
    }

    #[test]
    fn a_payload_has_the_length_asked_for() {
        assert_eq!(payload(0, 1, 2, 100).len(), 100);
        assert_eq!(payload(255, u32::MAX, u64::MAX, 0).len(), HEADER);
    }

    #[test]
    fn the_chunk_size_is_that_of_the_event() {
        let mut out = Vec::new();
        encode_chunk(&mut out, 7, b"hello");
        let text = String::from_utf8(out).unwrap();
        let (size, rest) = text.split_once("\r\n").unwrap();
        let body = rest.strip_suffix("\r\n").unwrap();
        assert_eq!(usize::from_str_radix(size, 16).unwrap(), body.len());
        assert!(body.ends_with("data: hello\n\n"), "{body}");
    }

    #[test]
    fn a_payload_is_found_at_the_beginning_of_a_text() {
        let found = Found::parse(&payload(3, 9, 1_000_000, 40));
        assert_eq!(found, Some(Found { publisher: 3, sequence: 9, stamp: 1_000_000 }));
        assert_eq!(Found::parse("something else that is as long as a payload"), None);
        assert_eq!(Found::parse("~03"), None);
    }

    #[test]
    fn a_mark_without_digits_is_no_payload() {
        assert!(scan_in_pieces(b"~zz this is not one of ours at all", 100).is_empty());
    }
}
