//! A publisher's keep-alive connection with one request under way; at the floor, one socket for each of its threads
//! and several requests under way, since the floor has no other place where events could wait than the socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::encode::{Endpoint, Event, Style};
use super::http::parse_response;
use crate::error::{Doing, Result, failed};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Requests that may be under way at once to the floor.
const FLOOR_DEPTH: usize = 64;

pub(super) struct Link {
    style: Style,
    sockets: Vec<Socket>,
    /// Events of the request under way.
    events: usize,
    pub(super) sent_at: Instant,
}

struct Socket {
    address: SocketAddr,
    stream: TcpStream,
    input: Vec<u8>,
    /// The server closed the connection; the next request opens another.
    closed: bool,
    /// Requests under way.
    waiting: usize,
}

// === impl Link ===

impl Link {
    pub(super) fn open(endpoint: &Endpoint) -> Result<Self> {
        let sockets = endpoint.addresses.iter().map(|a| Socket::open(*a)).collect::<Result<_>>()?;
        Ok(Self { style: endpoint.style, sockets, events: 0, sent_at: Instant::now() })
    }

    /// Whether another request may be sent.
    pub(super) fn is_free(&self) -> bool {
        let depth = if self.style == Style::Floor { FLOOR_DEPTH } else { 1 };
        self.sockets.iter().all(|s| s.waiting < depth)
    }

    /// Whether all requests are answered.
    pub(super) fn is_idle(&self) -> bool {
        self.sockets.iter().all(|s| s.waiting == 0)
    }

    /// Descriptors of the sockets that wait for an answer.
    pub(super) fn waiting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().filter(|s| s.waiting > 0).map(|s| s.stream.as_fd())
    }

    pub(super) fn send(&mut self, events: &[Event]) -> Result<()> {
        (self.events, self.sent_at) = (events.len(), Instant::now());
        for (number, bytes) in self.style.encode(events, self.sockets.len()) {
            self.sockets[number].send(&bytes)?;
        }
        Ok(())
    }

    /// Takes what answers have come; fails when one of them is a refusal.
    pub(super) fn receive(&mut self) -> Result<()> {
        let (style, events) = (self.style, self.events);
        if !self.is_idle() && self.sent_at.elapsed() > TIMEOUT {
            return Err(failed(format!("a publish was not answered within {} s", TIMEOUT.as_secs())));
        }
        self.sockets.iter_mut().filter(|s| s.waiting > 0).try_for_each(|s| s.receive(style, events))
    }
}

// === impl Socket ===

impl Socket {
    fn open(address: SocketAddr) -> Result<Self> {
        let doing = || format!("connecting a publisher to {address}");
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).doing(doing)?;
        stream.set_nodelay(true).doing(doing)?;
        stream.set_nonblocking(true).doing(doing)?;
        Ok(Self { address, stream, input: Vec::new(), closed: false, waiting: 0 })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if self.closed {
            *self = Self::open(self.address)?;
        }
        let doing = || format!("publishing to {}", self.address);
        self.stream.set_nonblocking(false).doing(doing)?;
        self.stream.set_write_timeout(Some(TIMEOUT)).doing(doing)?;
        self.stream.write_all(bytes).doing(doing)?;
        self.stream.set_nonblocking(true).doing(doing)?;
        self.waiting += 1;
        Ok(())
    }

    fn receive(&mut self, style: Style, events: usize) -> Result<()> {
        let mut buffer = [0; 16 * 1024];
        let ended = match self.stream.read(&mut buffer) {
            Ok(read) => {
                self.input.extend_from_slice(&buffer[..read]);
                read == 0
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e).doing(|| format!("reading {}'s answer", self.address)),
        };
        if style == Style::Floor {
            self.waiting = self.waiting.saturating_sub(self.input.len());
            self.input.clear();
        } else if let Some((response, taken)) = parse_response(&self.input, ended) {
            if !style.accepted(&response, events) {
                let body =
                    String::from_utf8_lossy(&response.body[..response.body.len().min(400)]).into_owned();
                return Err(failed(format!("a publish was refused: {} {body}", response.status)));
            }
            self.input.drain(..taken);
            self.waiting = 0;
            self.closed = response.closes;
        }
        if ended && self.waiting > 0 {
            return Err(failed(format!("{} closed a publisher's connection", self.address)));
        }
        Ok(())
    }
}
