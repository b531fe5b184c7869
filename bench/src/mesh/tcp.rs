//! A TCP connection with messages that have their length before them: the least that any way can cost.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use super::Sender;
use super::tally::Stamped;
use crate::error::{Doing as _, Result};

/// The sending end.
pub(super) struct Out {
    stream: TcpStream,
    message: Vec<u8>,
}

// === impl Out ===

impl Out {
    pub(super) fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).doing(|| "connecting over TCP".into())?;
        stream.set_nodelay(true).doing(|| "setting TCP_NODELAY".into())?;
        Ok(Self { stream, message: Vec::new() })
    }
}

impl Sender for Out {
    fn send(&mut self, events: &[Stamped]) -> Result<()> {
        self.message.clear();
        self.message.extend_from_slice(&[0; 4]);
        for event in events {
            self.message.extend_from_slice(&event.0);
        }
        let len = u32::try_from(self.message.len() - 4).expect("a message is far smaller than 4 GiB");
        self.message[..4].copy_from_slice(&len.to_le_bytes());
        self.stream.write_all(&self.message).doing(|| "sending over TCP".into())
    }
}

/// Receives messages until `take` says that it was the last.
pub(super) fn receive(
    port: u16,
    ready: impl FnOnce() -> Result<()>,
    mut take: impl FnMut(&[u8]) -> bool,
) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).doing(|| "listening over TCP".into())?;
    ready()?;
    let (stream, _) = listener.accept().doing(|| "accepting over TCP".into())?;
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    let mut message = Vec::new();
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len).doing(|| "receiving over TCP".into())?;
        message.resize(u32::from_le_bytes(len) as usize, 0);
        stream.read_exact(&mut message).doing(|| "receiving over TCP".into())?;
        if take(&message) {
            return Ok(());
        }
    }
}
