//! Asking one instance.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use nng::{
    Aio, AioResult, Context, Message, Protocol, Socket,
    options::{Options as _, RecvMaxSize},
};
use parking_lot::Mutex;

use super::{Event, MESSAGE_BYTES_MAX, Shared, gate::Gate, link::dial};

/// Questions to one instance that are under way at a time.
const AT_ONCE: usize = 4;

/// Questions that wait for one of those.
const WAITING_MAX: usize = 256;

/// There is no answer: none came in time, or too many questions wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer in time")]
pub struct RequestFailed;

/// See the module.
pub(super) struct Requests {
    socket: Socket,
    queue: Arc<Mutex<Queue>>,
    lanes: Vec<(Arc<Lane>, Aio)>,
    shared: Shared,
}

/// One question at a time.
struct Lane {
    context: Context,
    tag: Mutex<Option<u64>>,
    gate: Gate,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(u64, Message)>,
}

// === impl Requests ===

impl Requests {
    pub(super) fn dial(to: &str, shared: &Shared) -> nng::Result<Self> {
        let socket = Socket::new(Protocol::Req0)?;
        socket.set_opt::<RecvMaxSize>(MESSAGE_BYTES_MAX)?;
        let queue = Arc::new(Mutex::new(Queue::default()));
        let lanes = (0..AT_ONCE).map(|_| Lane::new(&socket, &queue, shared)).collect::<nng::Result<_>>()?;
        dial(&socket, to, shared)?;
        Ok(Self { socket, queue, lanes, shared: shared.clone() })
    }

    /// `false` if too many wait.
    pub(super) fn ask(&self, tag: u64, message: &[u8]) -> bool {
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= WAITING_MAX {
            return false;
        }
        queue.waiting.push_back((tag, Message::from(message)));
        drop(queue);
        for (lane, aio) in &self.lanes {
            if lane.begin(aio, &self.queue) {
                break;
            }
        }
        true
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        for (lane, _) in &self.lanes {
            lane.gate.shut();
        }
        let waiting = std::mem::take(&mut self.queue.lock().waiting);
        for (tag, _) in waiting {
            self.shared.counts.requests_failed.fetch_add(1, Ordering::Relaxed);
            self.shared.hand_on(Event::Reply { tag, answer: Err(RequestFailed) });
        }
        for (_, aio) in &self.lanes {
            aio.cancel();
            aio.wait();
        }
        self.socket.close();
    }
}

// === impl Lane ===

impl Lane {
    fn new(socket: &Socket, queue: &Arc<Mutex<Queue>>, shared: &Shared) -> nng::Result<(Arc<Self>, Aio)> {
        let lane =
            Arc::new(Self { context: Context::new(socket)?, tag: Mutex::new(None), gate: Gate::default() });
        let (own, queue, shared) = (Arc::clone(&lane), Arc::clone(queue), shared.clone());
        let timeout = shared.settings.request_timeout;
        let aio = Aio::new(move |aio, result| own.proceed(&aio, result, &queue, &shared))?;
        aio.set_timeout(Some(timeout))?;
        Ok((lane, aio))
    }

    /// Takes the next question if this lane is free. Returns whether it did.
    fn begin(&self, aio: &Aio, queue: &Mutex<Queue>) -> bool {
        let mut tag = self.tag.lock();
        if tag.is_some() {
            return false;
        }
        let mut begun = false;
        self.gate.begin(|| {
            let Some((next, message)) = queue.lock().waiting.pop_front() else { return };
            *tag = Some(next);
            // What cannot be sent is told to the callback, which waits for the tag.
            let _ = self.context.send(aio, message);
            begun = true;
        });
        begun
    }

    /// Runs on a thread of NNG's.
    fn proceed(&self, aio: &Aio, result: AioResult, queue: &Mutex<Queue>, shared: &Shared) {
        let answer = match result {
            AioResult::Send(Ok(())) => {
                let waits = self.gate.begin(|| {
                    let _ = self.context.recv(aio);
                });
                if waits {
                    return;
                }
                Err(RequestFailed)
            }
            AioResult::Recv(Ok(message)) => Ok(message.as_slice().to_vec()),
            _ => Err(RequestFailed),
        };
        if answer.is_err() {
            shared.counts.requests_failed.fetch_add(1, Ordering::Relaxed);
        }
        let tag = self.tag.lock().take();
        if let Some(tag) = tag {
            shared.hand_on(Event::Reply { tag, answer });
        }
        self.begin(aio, queue);
    }
}
