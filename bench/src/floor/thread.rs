//! One thread of the floor.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use super::{FloorArgs, Mode, frames};
use crate::error::{Doing, Result};
use crate::wire::{STREAM_HEAD, encode_chunk};

const SUBSCRIBE: u64 = 0;
const PUBLISH: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

/// A floor thread's whole state: per subscriber one descriptor in a vector, nothing else.
pub(super) struct Server {
    epoll: OwnedFd,
    subscribe: OwnedFd,
    publish: OwnedFd,
    mode: Mode,
    patience: Timespec,
    topics: Vec<Vec<OwnedFd>>,
    connections: Vec<Option<Connection>>,
    pending: Vec<(u32, Vec<u8>)>,
    log: Option<Log>,
    numbered: u64,
    buffer: Vec<u8>,
}

/// A connection that is not a subscriber yet, or never will be.
enum Connection {
    Asking(OwnedFd),
    Publisher { fd: OwnedFd, bytes: Vec<u8> },
}

/// Everything sent on topic 0, and the length of its first event.
#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    first: usize,
}

// === impl Server ===

impl Server {
    pub(super) fn new(subscribe: OwnedFd, publish: OwnedFd, args: &FloorArgs) -> Result<Self> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).doing(|| "creating an epoll instance".into())?;
        for (fd, token) in [(&subscribe, SUBSCRIBE), (&publish, PUBLISH)] {
            epoll::add(&epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
                .doing(|| "watching a listener".into())?;
        }
        Ok(Self {
            epoll,
            subscribe,
            publish,
            mode: args.mode,
            patience: Timespec {
                tv_sec: i64::from(args.patience_ms / 1000),
                tv_nsec: i64::from(args.patience_ms % 1000) * 1_000_000,
            },
            topics: Vec::new(),
            connections: Vec::new(),
            pending: Vec::new(),
            log: args.keep_log.then(Log::default),
            numbered: 0,
            buffer: vec![0; 256 * 1024],
        })
    }

    pub(super) fn run(mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        let mut events = Vec::with_capacity(256);
        while Instant::now() < deadline {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&second)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e).doing(|| "waiting for events".into()),
            }
            for event in &events {
                match event.data.u64() {
                    SUBSCRIBE => self.accept_subscribers(),
                    PUBLISH => self.accept_publishers(),
                    token => self.read_connection(token),
                }
            }
            self.flush();
        }
        Ok(())
    }

    fn accept_subscribers(&mut self) {
        while let Ok(fd) = accept(&self.subscribe) {
            // The request usually came with the connection.
            if let Some(fd) = self.try_admit(fd) {
                self.watch(Connection::Asking(fd));
            }
        }
    }

    fn accept_publishers(&mut self) {
        while let Ok(fd) = accept(&self.publish) {
            let _ = rustix::net::sockopt::set_tcp_nodelay(&fd, true);
            self.watch(Connection::Publisher { fd, bytes: Vec::new() });
        }
    }

    fn watch(&mut self, connection: Connection) {
        let at = self.connections.iter().position(Option::is_none).unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let (Connection::Asking(fd) | Connection::Publisher { fd, .. }) = &connection;
        let token = epoll::EventData::new_u64(FIRST_CONNECTION + at as u64);
        if epoll::add(&self.epoll, fd, token, epoll::EventFlags::IN).is_ok() {
            self.connections[at] = Some(connection);
        }
    }

    fn read_connection(&mut self, token: u64) {
        let Ok(at) = usize::try_from(token - FIRST_CONNECTION) else { return };
        match self.connections.get_mut(at).and_then(Option::take) {
            Some(Connection::Asking(fd)) => {
                let _ = epoll::delete(&self.epoll, &fd);
                if let Some(fd) = self.try_admit(fd) {
                    self.watch(Connection::Asking(fd));
                }
            }
            Some(Connection::Publisher { fd, bytes }) => {
                self.connections[at] =
                    self.read_publisher(&fd, bytes).map(|bytes| Connection::Publisher { fd, bytes });
            }
            None => {}
        }
    }

    /// Reads a request and makes its sender a subscriber; gives the descriptor back when the request is not there yet.
    fn try_admit(&mut self, fd: OwnedFd) -> Option<OwnedFd> {
        let read = match rustix::net::recv(&fd, &mut self.buffer[..8192], RecvFlags::empty()) {
            Ok((read, _)) => read,
            Err(Errno::AGAIN) => return Some(fd),
            Err(_) => return None,
        };
        let head = &self.buffer[..read];
        let topic = topic_of(head)?;
        let resumes = head.windows(15).any(|w| w.eq_ignore_ascii_case(b"\r\nlast-event-id"));
        let sent = match &self.log {
            Some(log) if resumes => {
                send_all(&fd, &[STREAM_HEAD, &log.bytes[log.first..]].concat(), &self.patience)
            }
            _ => send_all(&fd, STREAM_HEAD, &self.patience),
        };
        if sent {
            if topic >= self.topics.len() {
                self.topics.resize_with(topic + 1, Vec::new);
            }
            self.topics[topic].push(fd);
        }
        None
    }

    /// Reads and answers everything a publisher has sent; `None` when it is gone.
    fn read_publisher(&mut self, fd: &OwnedFd, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        loop {
            match rustix::net::recv(fd, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return None,
                Ok((read, _)) => bytes.extend_from_slice(&self.buffer[..read]),
                Err(Errno::AGAIN) => break,
                Err(_) => return None,
            }
            let whole = read_whole(&bytes);
            for _ in 0..whole.1 {
                rustix::net::send(fd, b"k", SendFlags::NOSIGNAL).ok()?;
            }
            let rest = bytes.split_off(whole.0);
            self.accept_requests(&bytes);
            bytes = rest;
        }
        Some(bytes)
    }

    fn accept_requests(&mut self, mut bytes: &[u8]) {
        while let Some((body, rest)) = frames::split_request(bytes) {
            for frame in frames::frames(body) {
                self.accept_event(frame);
            }
            bytes = rest;
        }
    }

    fn accept_event(&mut self, frame: frames::Frame<'_>) {
        let fresh =
            self.mode == Mode::Each || self.pending.last().is_none_or(|(topic, _)| *topic != frame.topic);
        if fresh {
            self.pending.push((frame.topic, Vec::new()));
        }
        let (_, out) = self.pending.last_mut().expect("one was pushed if there was none");
        encode_chunk(out, self.numbered, frame.data);
        self.numbered += 1;
        if let (Some(log), 0) = (&mut self.log, frame.topic) {
            encode_chunk(&mut log.bytes, self.numbered, frame.data);
            if log.first == 0 {
                log.first = log.bytes.len();
            }
        }
    }

    /// The inner loop that is the floor: one `send` per pending buffer and subscriber.
    fn flush(&mut self) {
        for (topic, bytes) in std::mem::take(&mut self.pending) {
            if let Some(subscribers) = self.topics.get_mut(topic as usize) {
                subscribers.retain(|fd| send_all(fd, &bytes, &self.patience));
            }
        }
    }
}

fn accept(listener: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
}

/// How many bytes of `bytes` are complete requests, and how many those are.
fn read_whole(bytes: &[u8]) -> (usize, usize) {
    let (mut rest, mut count) = (bytes, 0);
    while let Some((_, after)) = frames::split_request(rest) {
        rest = after;
        count += 1;
    }
    (bytes.len() - rest.len(), count)
}

/// The number in `GET /events/t123 HTTP/1.1`; `None` unless the head is complete.
fn topic_of(head: &[u8]) -> Option<usize> {
    if !head.ends_with(b"\r\n\r\n") {
        return None;
    }
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    line.strip_prefix("GET /events/t")?.split(' ').next()?.parse().ok()
}

/// Sends everything; false when the peer is gone or blocks for longer than `patience`.
fn send_all(fd: &OwnedFd, mut bytes: &[u8], patience: &Timespec) -> bool {
    while !bytes.is_empty() {
        match rustix::net::send(fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::AGAIN) => {
                let mut wait = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::OUT)];
                if !matches!(rustix::event::poll(&mut wait, Some(patience)), Ok(1..)) {
                    return false;
                }
            }
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_is_read_from_a_complete_head_only() {
        assert_eq!(topic_of(b"GET /events/t42 HTTP/1.1\r\nHost: x\r\n\r\n"), Some(42));
        assert_eq!(topic_of(b"GET /events/t42 HTTP/1.1\r\nHost: x\r\n"), None);
        assert_eq!(topic_of(b"GET /other HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn only_complete_requests_are_taken() {
        let one = frames::encode_request(&[frames::Frame { topic: 1, data: b"abc" }]);
        let two = [one.as_slice(), one.as_slice(), &one[..5]].concat();
        assert_eq!(read_whole(&two), (2 * one.len(), 2));
    }
}
