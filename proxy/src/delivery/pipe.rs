//! A bounded stream of bytes from a shard to a response body that hyper polls.
//!
//! It behaves like a socket: writing takes what there is room for, a full pipe reports when it has room again,
//! and a reader that goes away is a hang-up. So HTTP/2 and TLS subscribers are subscribers like all others.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use parking_lot::Mutex;

use super::inbox::{Command, Inbox};

/// How much waits in a pipe at most. HTTP/2 has a window of its own behind it.
const CAPACITY: usize = 64 * 1024;

/// The shared state of both ends.
pub struct Pipe {
    state: Mutex<State>,
    inbox: Arc<Inbox>,
    /// The slab index that the shard has given to the subscriber, or [`NO_KEY`].
    key: AtomicU32,
    /// Whether there is a client at the other end.
    counted: bool,
}

/// No slab index yet, or no longer.
pub const NO_KEY: u32 = u32::MAX;

#[derive(Default)]
struct State {
    buffer: BytesMut,
    reader: Option<Waker>,
    writer_waits: bool,
    reader_gone: bool,
    stage: Stage,
}

/// How far the shard is with a pipe.
#[derive(Default, PartialEq, Eq)]
enum Stage {
    /// It has not seen it yet.
    #[default]
    New,
    /// It delivers to it.
    Joined,
    /// Nothing more will come.
    Finished,
}

/// The reading end: a response body.
pub struct PipeBody {
    pipe: Arc<Pipe>,
    held: Option<Box<dyn Send + Sync>>,
}

// === impl Pipe ===

impl Pipe {
    /// A pipe from the shard behind `inbox`, and its reading end.
    pub fn new(inbox: &Arc<Inbox>) -> (Arc<Self>, PipeBody) {
        Self::with(inbox, true)
    }

    /// A pipe that the proxy reads itself: statistics and lists leave it out, and it gets no keepalives.
    pub(crate) fn uncounted(inbox: &Arc<Inbox>) -> (Arc<Self>, PipeBody) {
        Self::with(inbox, false)
    }

    fn with(inbox: &Arc<Inbox>, counted: bool) -> (Arc<Self>, PipeBody) {
        let (state, inbox, key) = (Mutex::default(), Arc::clone(inbox), AtomicU32::new(NO_KEY));
        let pipe = Arc::new(Self { state, inbox, key, counted });
        (Arc::clone(&pipe), PipeBody { pipe, held: None })
    }

    pub(super) fn is_counted(&self) -> bool {
        self.counted
    }

    pub(super) fn key(&self) -> u32 {
        self.key.load(Ordering::Relaxed)
    }

    pub(super) fn set_key(&self, key: u32) {
        self.key.store(key, Ordering::Relaxed);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.state.lock().reader_gone
    }

    pub(super) fn write(&self, parts: &[&[u8]]) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.reader_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut written = 0;
        for part in parts {
            let taken = part.len().min(CAPACITY - state.buffer.len());
            state.buffer.extend_from_slice(&part[..taken]);
            written += taken;
            if taken < part.len() {
                state.writer_waits = true;
                break;
            }
        }
        if let Some(reader) = state.reader.take_if(|_| written > 0) {
            drop(state);
            reader.wake();
        }
        Ok(written)
    }

    /// The shard delivers to this pipe from now on.
    pub(super) fn join(&self) {
        self.tell(|state| state.stage = Stage::Joined);
    }

    pub(super) fn finish(&self) {
        self.tell(|state| state.stage = Stage::Finished);
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        if let Some(reader) = state.reader.take() {
            drop(state);
            reader.wake();
        }
    }
}

// === impl PipeBody ===

impl PipeBody {
    /// Keeps a value until the body has been sent or given up.
    pub fn hold(&mut self, value: impl Send + Sync + 'static) {
        self.held = Some(Box::new(value));
    }

    /// Waits until the shard delivers to this pipe: what is published after that is not missed, whether or not its topic
    /// keeps a history.
    pub async fn joined(&mut self) {
        poll_fn(|cx| {
            let mut state = self.pipe.state.lock();
            if state.stage != Stage::New {
                return Poll::Ready(());
            }
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Body for PipeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut state = self.pipe.state.lock();
        if state.buffer.is_empty() {
            if state.stage == Stage::Finished {
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // Taken whole, memory included: an idle stream holds no buffer.
        let bytes = std::mem::take(&mut state.buffer).freeze();
        let report = std::mem::take(&mut state.writer_waits);
        drop(state);
        if report {
            self.pipe.inbox.push(Command::Pipe(Arc::clone(&self.pipe)));
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Drop for PipeBody {
    fn drop(&mut self) {
        self.pipe.state.lock().reader_gone = true;
        self.pipe.inbox.push(Command::Pipe(Arc::clone(&self.pipe)));
    }
}
