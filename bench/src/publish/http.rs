//! As much of an HTTP/1.1 client as a benchmark needs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::{Doing, Result, failed};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A complete response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// Status code.
    pub(crate) status: u16,
    /// Whether the server closes the connection after it.
    pub(crate) closes: bool,
    /// Body; the raw chunks where it is chunked.
    pub(crate) body: Vec<u8>,
}

/// A request for [`exchange`].
pub(crate) struct Exchange<'a> {
    /// Method.
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) path: &'a str,
    /// Header lines, each with its line end.
    pub(crate) headers: &'a str,
}

/// Parses a response off the front of `bytes`; answers it and how many bytes it took, or `None` while it is
/// incomplete. `ended` tells that the server closed the connection.
pub(crate) fn parse_response(bytes: &[u8], ended: bool) -> Option<(Response, usize)> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    let field = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    let connection = field("connection").unwrap_or_default();
    let closes = connection == "close" || (head.starts_with("HTTP/1.0") && connection != "keep-alive");
    let length = match (field("content-length"), field("transfer-encoding")) {
        _ if status == 204 || status == 304 => 0,
        (Some(length), _) => length.parse().ok()?,
        (None, Some(coding)) if coding == "chunked" => memchr::memmem::find(&bytes[end..], b"0\r\n\r\n")? + 5,
        _ if closes && !ended => return None,
        _ => bytes.len() - end,
    };
    let body = bytes.get(end..end + length)?.to_vec();
    Some((Response { status, closes, body }, end + length))
}

/// Sends one request over a connection of its own and reads the response.
pub(crate) fn exchange(address: SocketAddr, request: &Exchange<'_>) -> Result<Response> {
    let doing = || format!("{} {} at {address}", request.method, request.path);
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).doing(doing)?;
    stream.set_read_timeout(Some(TIMEOUT)).doing(doing)?;
    let text = format!(
        "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}\r\n",
        request.method, request.path, request.headers
    );
    stream.write_all(text.as_bytes()).doing(doing)?;
    let mut bytes = Vec::new();
    stream.take(16 * 1024 * 1024).read_to_end(&mut bytes).doing(doing)?;
    let parsed = parse_response(&bytes, true);
    parsed.map(|(response, _)| response).ok_or_else(|| failed(format!("{}: an incomplete answer", doing())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_with_a_length_follow_each_other() {
        let bytes = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 204 No Content\r\n\r\n";
        let (first, taken) = parse_response(bytes, false).unwrap();
        assert_eq!((first.status, first.body.as_slice(), first.closes), (202, b"{}".as_slice(), false));
        let (second, rest) = parse_response(&bytes[taken..], false).unwrap();
        assert_eq!((second.status, taken + rest), (204, bytes.len()));
    }

    #[test]
    fn incomplete_responses_wait() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        for end in 0..bytes.len() {
            assert_eq!(parse_response(&bytes[..end], false), None, "after {end} bytes");
        }
    }

    #[test]
    fn a_body_may_end_with_the_connection() {
        let bytes = b"HTTP/1.0 200 OK\r\n\r\nPublished";
        assert_eq!(parse_response(bytes, false), None);
        let (response, taken) = parse_response(bytes, true).unwrap();
        assert!(response.closes && taken == bytes.len());
    }

    #[test]
    fn chunked_bodies_end_with_the_last_chunk() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        assert_eq!(parse_response(&bytes[..bytes.len() - 1], false), None);
        assert_eq!(parse_response(bytes, false).unwrap().1, bytes.len());
    }
}
