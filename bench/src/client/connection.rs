//! One subscriber's socket, from connecting to reading events.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};

use super::protocol::Connect;
use crate::error::{Doing, Result, failed};
use crate::wire::Carry;

/// The smallest receive buffer Linux gives, for subscribers that never read.
const SLOW_RECEIVE_BUFFER: usize = 2304;

/// Where the ports of a process's subscribers begin; those the system gives to others are usually above all of them.
const FIRST_PORT: u16 = 10_000;

/// Longer response heads than this are refused.
const HEAD_LIMIT: usize = 16 * 1024;

/// A subscriber.
pub(super) struct Connection {
    pub(super) fd: OwnedFd,
    /// Its number among all subscribers of the run.
    pub(super) number: usize,
    pub(super) phase: Phase,
    /// The beginning of a payload that the last read cut off.
    pub(super) carry: Carry,
    /// Never reads once its stream has begun.
    pub(super) slow: bool,
}

/// How far a subscriber is.
pub(super) enum Phase {
    /// The request is to be sent when the connection is established.
    Connecting(Vec<u8>),
    /// Reading the response head.
    Head(Vec<u8>),
    /// Reading events.
    Live,
    /// The connection ended.
    Ended,
}

// === impl Connection ===

impl Connection {
    /// Begins to connect subscriber `number`, which is the process's connection `at`.
    pub(super) fn begin(plan: &Connect, number: usize, at: usize, request: Vec<u8>) -> Result<Self> {
        let slow = plan.slow_every > 0 && number.is_multiple_of(plan.slow_every);
        let address = plan.addresses[number % plan.addresses.len()];
        let SocketAddr::V4(address) = address else { return Err(failed("only IPv4 loopback is supported")) };
        let doing = || format!("connecting subscriber {number} to {address}");
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd =
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).doing(doing)?;
        if slow {
            sockopt::set_socket_recv_buffer_size(&fd, SLOW_RECEIVE_BUFFER).doing(doing)?;
        }
        sockopt::set_socket_reuseaddr(&fd, true).doing(doing)?;
        // Ends with a reset: tens of thousands of sockets in TIME_WAIT would use up the ports of the next rounds.
        sockopt::set_socket_linger(&fd, Some(Duration::ZERO)).doing(doing)?;
        bind(&fd, plan.source, at).doing(doing)?;
        match rustix::net::connect(&fd, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(e) => return Err(e).doing(doing),
        }
        Ok(Self { fd, number, phase: Phase::Connecting(request), carry: Carry::default(), slow })
    }

    /// Ends the connection as a browser that leaves does, without a reset.
    pub(super) fn close_politely(self) {
        let _ = sockopt::set_socket_linger(&self.fd, None);
    }

    /// Sends the request once the connection is established.
    pub(super) fn send_request(&mut self) -> Result<()> {
        let Phase::Connecting(request) = &self.phase else { return Ok(()) };
        let connected = sockopt::socket_error(&self.fd).doing(|| "asking for a socket's error".into())?;
        connected.doing(|| "connecting".into())?;
        let sent =
            rustix::net::send(&self.fd, request, SendFlags::NOSIGNAL).doing(|| "sending a request".into())?;
        if sent < request.len() {
            return Err(failed("a request did not fit into an empty socket"));
        }
        self.phase = Phase::Head(Vec::new());
        Ok(())
    }

    /// Takes bytes of the response head; answers how many of them belong to it once it is complete.
    pub(super) fn take_head(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let Phase::Head(head) = &mut self.phase else { return Ok(Some(0)) };
        let before = head.len();
        head.extend_from_slice(bytes);
        let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") else {
            return if head.len() > HEAD_LIMIT { Err(failed("an endless response head")) } else { Ok(None) };
        };
        if !(head.starts_with(b"HTTP/1.1 200") || head.starts_with(b"HTTP/1.0 200")) {
            let shown = String::from_utf8_lossy(&head[..head.len().min(300)]).into_owned();
            return Err(failed(format!("a subscribe was answered: {shown}")));
        }
        self.phase = Phase::Live;
        Ok(Some(end + 4 - before))
    }
}

/// Gives a socket the port that belongs to its place, or any where that is taken: the system's search for a free port takes
/// ever longer as ports fill up, until it is all that a client does.
fn bind(fd: &OwnedFd, source: Ipv4Addr, at: usize) -> rustix::io::Result<()> {
    let port = u16::try_from(at).ok().and_then(|at| FIRST_PORT.checked_add(at)).unwrap_or(0);
    match rustix::net::bind(fd, &SocketAddrV4::new(source, port)) {
        Err(Errno::ADDRINUSE) => rustix::net::bind(fd, &SocketAddrV4::new(source, 0)),
        outcome => outcome,
    }
}

/// The subscribe request of subscriber `number`.
pub(super) fn request(plan: &Connect, number: usize, token: Option<&str>) -> Vec<u8> {
    let topic = format!("t{}", plan.topics.of(number));
    let path = plan.path.replace("{topic}", &topic);
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n");
    for header in &plan.headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if let Some(token) = token {
        let _ = write!(text, "Authorization: Bearer {token}\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}
