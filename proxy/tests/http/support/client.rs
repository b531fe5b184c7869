//! A client that sends what it is told, and reads answers strictly.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use serde_json::Value;
use socket2::{Domain, Type};

use super::PATIENCE;

/// Something that behaves like a socket.
pub(crate) trait Socket: Read + Write + Send {
    /// Says that nothing more is sent.
    fn end_sending(&mut self);
}

/// One connection.
pub(crate) struct Client {
    pub(crate) socket: Box<dyn Socket>,
    /// What has been read and not been used.
    pub(crate) buffer: Vec<u8>,
}

/// The head of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) version: String,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: String,
}

impl Socket for TcpStream {
    fn end_sending(&mut self) {
        // The peer may have closed already.
        let _ = self.shutdown(Shutdown::Write);
    }
}

// === impl Client ===

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// A client over a socket that is connected.
    pub(crate) fn over(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket: Box::new(socket), buffer: Vec::new() }
    }

    /// Sends, and lets an early close by the peer show in what is read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match self.socket.write_all(bytes) {
            Err(error) if !is_closed(&error) => panic!("cannot send: {error}"),
            _ => {}
        }
    }

    /// Reads some more bytes into the buffer; false at the end of the connection.
    pub(crate) fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.socket.read(&mut bytes) {
            Ok(0) => false,
            Ok(n) => {
                self.buffer.extend_from_slice(&bytes[..n]);
                true
            }
            Err(error) if is_closed(&error) => false,
            Err(error) => panic!("nothing to read: {error}"),
        }
    }

    /// The head of the next answer; `None` if the connection ends before there is one.
    pub(crate) fn head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Some(Head::parse(std::str::from_utf8(&head[..end]).unwrap()));
            }
            if !self.fill() {
                assert!(self.buffer.is_empty(), "half a head: {:?}", String::from_utf8_lossy(&self.buffer));
                return None;
            }
        }
    }

    /// The next answer to a request other than HEAD.
    pub(crate) fn response(&mut self) -> Response {
        self.try_response().expect("an answer before the end of the connection")
    }

    /// The next answer, or `None` if the connection ends without one.
    pub(crate) fn try_response(&mut self) -> Option<Response> {
        let mut head = self.head()?;
        while head.status == 100 {
            head = self.head()?;
        }
        let body = self.body(&head);
        Some(Response { status: head.status, head, body: String::from_utf8(body).unwrap() })
    }

    /// The body that follows a head.
    pub(crate) fn body(&mut self, head: &Head) -> Vec<u8> {
        match (head.get("transfer-encoding"), head.get("content-length")) {
            (Some("chunked"), None) => self.chunked_body(),
            (None, Some(length)) => self.take(length.parse().unwrap()),
            (None, None) if [204, 304].contains(&head.status) => Vec::new(),
            (None, None) => self.read_to_end(),
            other => panic!("contradictory framing: {other:?}"),
        }
    }

    /// Everything up to the end of the connection.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the connection ends now, with nothing more to read.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    fn chunked_body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match find(&self.buffer, b"\r\n") {
                    Some(end) => break end,
                    None => assert!(self.fill(), "the body ends early"),
                }
            };
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let size = usize::from_str_radix(std::str::from_utf8(&line[..end]).unwrap(), 16).unwrap();
            let chunk = self.take(size + 2);
            assert!(chunk.ends_with(b"\r\n"), "{chunk:?}");
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill(), "{} of {count} bytes came", self.buffer.len());
        }
        self.buffer.drain(..count).collect()
    }
}

// === impl Head ===

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap().splitn(3, ' ');
        let version = first.next().unwrap().to_owned();
        assert!(version.starts_with("HTTP/1."), "{text:?}");
        let status = first.next().unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no header"));
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Self { version, status, headers: headers.collect() }
    }

    /// The value of a header that may be there once.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert_eq!(values.next(), None, "{name} is there twice: {self:?}");
        first
    }
}

// === impl Response ===

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// All values of a header.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let all = self.head.headers.iter();
        all.filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// Connects a socket that is prepared first.
pub(crate) fn connect_with(
    address: SocketAddr,
    prepare: impl FnOnce(&socket2::Socket) -> io::Result<()>,
) -> TcpStream {
    let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    prepare(&socket).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

/// Connects from another address of the loopback network.
pub(crate) fn connect_from(host: u8, address: SocketAddr) -> TcpStream {
    let own = SocketAddr::from(([127, 0, 0, host], 0));
    connect_with(address, |socket| socket.bind(&own.into()))
}

/// Connects with little room for what has not been read.
pub(crate) fn connect_narrow(address: SocketAddr) -> TcpStream {
    connect_with(address, |socket| socket.set_recv_buffer_size(4096))
}

/// Whether an error says that the peer has closed.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof].contains(&error.kind())
}

/// Where a text begins in some bytes.
pub(crate) fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}
