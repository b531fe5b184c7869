//! Where a subscriber's bytes go. Both kinds behave like a non-blocking socket.

use std::{
    io::{self, IoSlice},
    os::fd::OwnedFd,
    sync::Arc,
};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown},
};
use smallvec::SmallVec;

use super::pipe::Pipe;

/// The most pieces that go into one system call (`UIO_MAXIOV` of Linux is 1,024).
pub const PARTS_MAX: usize = 256;

/// How much unread input is thrown away before closing, so that the close is not a reset.
const INPUT_DISCARD_MAX: usize = 16 * 1024;

/// A subscriber's writing end.
pub enum Sink {
    /// A TCP socket that belongs to the shard.
    Tcp(OwnedFd),
    /// A stream of a connection that hyper drives: HTTP/2, or anything over TLS.
    Pipe(Arc<Pipe>),
}

// === impl Sink ===

impl Sink {
    /// Writes as much of the parts, in order, as there is room for; `Ok(0)` if there is none at all.
    pub fn write(&self, parts: &[&[u8]]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => {
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                let sent = retry_on_intr(|| {
                    if let [only] = parts {
                        return send(socket, only, flags);
                    }
                    let parts: SmallVec<[IoSlice<'_>; 8]> = parts.iter().map(|p| IoSlice::new(p)).collect();
                    sendmsg(socket, &parts, &mut SendAncillaryBuffer::default(), flags)
                });
                match sent {
                    Err(Errno::AGAIN) => Ok(0),
                    other => Ok(other?),
                }
            }
            Self::Pipe(pipe) => pipe.write(parts),
        }
    }

    /// Whether there is a client at the other end.
    pub(super) fn is_counted(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Pipe(pipe) => pipe.is_counted(),
        }
    }

    /// Ends the stream after what has been written.
    pub fn finish(&self) {
        match self {
            Self::Tcp(socket) => {
                // A close with unread input is a reset, which may destroy what the client has not read yet.
                let mut discard = [0_u8; 4096];
                for _ in 0..INPUT_DISCARD_MAX / discard.len() {
                    match recv(socket, &mut discard[..], RecvFlags::DONTWAIT) {
                        Ok((_, n)) if n > 0 => {}
                        _ => break,
                    }
                }
                let _ = shutdown(socket, Shutdown::Write);
            }
            Self::Pipe(pipe) => pipe.finish(),
        }
    }
}
