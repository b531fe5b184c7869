//! A trivial HTTP server inside the benchmark: the webhook that judges tokens, and the origin Pushpin asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Doing, Result};

/// More connections at once are closed unanswered.
const MAX_CONNECTIONS: usize = 512;

/// Longer bodies are not read.
const MAX_BODY: usize = 64 * 1024;

/// Turns a request's path into the header lines and the body of a 200 answer.
pub(crate) type Answer = fn(path: &str) -> (String, String);

/// A running server; ends when dropped.
pub(crate) struct Httpd {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Answer,
    stop: AtomicBool,
    requests: AtomicU64,
    connections: AtomicUsize,
}

// === impl Httpd ===

impl Httpd {
    /// Starts a server that answers every request with `answer`.
    pub(crate) fn start(answer: Answer) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").doing(|| "starting the helper server".into())?;
        let address = listener.local_addr().doing(|| "reading the helper server's address".into())?;
        let shared = Arc::new(Shared {
            answer,
            stop: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
        });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &theirs));
        Ok(Self { address, shared })
    }

    /// Requests answered so far.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(100));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        if shared.connections.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let _ = serve(&stream, &shared);
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(path) = read_request(&mut reader)? else { return Ok(()) };
        let (headers, body) = (shared.answer)(&path);
        let text = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
        shared.requests.fetch_add(1, Ordering::Relaxed);
        (&mut &*stream).write_all(text.as_bytes())?;
    }
    Ok(())
}

/// Reads a request to its end and answers its path; `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let (mut path, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.take(16 * 1024).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if path.is_none() {
            path = line.split(' ').nth(1).map(Into::into);
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(usize::MAX);
        }
    }
    if length > MAX_BODY {
        return Ok(None);
    }
    reader.read_exact(&mut vec![0; length])?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_one_after_the_other() {
        let mut input = &b"POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n"[..];
        assert_eq!(read_request(&mut input).unwrap().as_deref(), Some("/a"));
        assert_eq!(read_request(&mut input).unwrap().as_deref(), Some("/b"));
        assert_eq!(read_request(&mut input).unwrap(), None);
    }
}
