//! What a connection's driver, its service and its stream share.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{config::Http, delivery::Terms};

/// An idle timeout of zero means this.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// One connection.
pub struct Link {
    /// Whether its socket can go to a shard.
    hand_off: bool,
    /// Whom it came to, and what for.
    purpose: Purpose,
    state: Mutex<State>,
    /// Told when a head begins.
    begun: Notify,
}

/// What becomes of a connection's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They are served.
    Serve,
    /// They are served to an administrator.
    Administer,
    /// They are turned away, for there are no descriptors.
    TurnAway,
}

struct State {
    terms: Option<Box<Terms>>,
    in_flight: u32,
    idle_since: Instant,
    /// Since when a head is under way that is not complete; the first one is from the start.
    head_since: Option<Instant>,
}

/// A stream that tells its link when something comes.
pub struct Heard<S> {
    stream: S,
    link: Arc<Link>,
}

/// A request that is being answered, until its answer has been written.
pub struct InFlight(Arc<Link>);

// === impl Link ===

impl Link {
    /// A connection that has just been accepted.
    pub fn new(purpose: Purpose, hand_off: bool) -> Arc<Self> {
        let now = Instant::now();
        let state = State { terms: None, in_flight: 0, idle_since: now, head_since: Some(now) };
        Arc::new(Self { hand_off, purpose, state: Mutex::new(state), begun: Notify::new() })
    }

    /// Whether its socket can go to a shard.
    pub fn can_hand_off(&self) -> bool {
        self.hand_off
    }

    /// What becomes of its requests.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// A request has come.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        let mut state = self.state.lock();
        state.in_flight += 1;
        state.head_since = None;
        InFlight(Arc::clone(self))
    }

    /// The connection is to become a subscriber.
    pub fn put_terms(&self, terms: Box<Terms>) {
        self.state.lock().terms = Some(terms);
    }

    /// What [`put_terms`](Self::put_terms) left.
    pub fn take_terms(&self) -> Option<Box<Terms>> {
        self.state.lock().terms.take()
    }

    /// The client has sent something. Between requests that is the beginning of a head.
    fn heard(&self) {
        let mut state = self.state.lock();
        if state.in_flight == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
            drop(state);
            self.begun.notify_one();
        }
    }

    /// Ends when the client has taken too long to send a head, or has sent no further request for the idle timeout.
    pub async fn idle(&self, http: &Http) {
        let head = Duration::from_secs(http.header_timeout_sec);
        let further = match http.connection_timeout_sec {
            0 => FOREVER,
            seconds => Duration::from_secs(seconds),
        };
        loop {
            let deadline = self.state.lock().deadline(head, further);
            if deadline <= Instant::now() {
                return;
            }
            select! {
                () = sleep_until(deadline) => {}
                () = self.begun.notified() => {}
            }
        }
    }
}

// === impl State ===

impl State {
    fn deadline(&self, head: Duration, further: Duration) -> Instant {
        match self.head_since {
            Some(since) => since + head,
            None if self.in_flight > 0 => Instant::now() + further,
            None => self.idle_since + further,
        }
    }
}

// === impl Heard ===

impl<S> Heard<S> {
    /// Lets `link` know of what comes through `stream`.
    pub fn new(stream: S, link: Arc<Link>) -> Self {
        Self { stream, link }
    }

    /// The stream itself.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.link.heard();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.in_flight -= 1;
        state.idle_since = Instant::now();
    }
}
