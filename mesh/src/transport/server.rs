//! Answering others.

use std::{
    sync::{Arc, OnceLock, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use nng::{
    Aio, AioResult, Context, Message, Protocol, Socket,
    options::{Options as _, RecvMaxSize},
};
use parking_lot::Mutex;
use tokio::{sync::mpsc::error::TrySendError, task::JoinHandle};

use super::{Event, MESSAGE_BYTES_MAX, Shared, TransportError, gate::Gate};

/// Questions that are answered at a time. Further ones wait with NNG.
const AT_ONCE: usize = 8;

/// See the module.
pub(super) struct Server {
    socket: Socket,
    workers: Vec<Arc<Worker>>,
    reminder: JoinHandle<()>,
}

struct Worker {
    context: Context,
    /// Made after the worker, which its callback needs.
    aio: OnceLock<Aio>,
    gate: Gate,
    turn: Mutex<Turn>,
}

/// The question that a worker is at.
#[derive(Default)]
struct Turn {
    number: u64,
    /// When its ticket was given out, until that is used.
    given: Option<Instant>,
}

/// The right to answer a question. Dropped, the question stays without an answer; and so it does if the ticket is kept for
/// longer than an answer may take, since the worker is needed for others then.
pub struct Ticket(Right);

type Answer = dyn FnOnce(&[u8]) + Send;

enum Right {
    /// To answer what this worker was asked in this turn.
    Turn(Arc<Worker>, u64),
    /// To answer what came another way.
    Other(Box<Answer>),
    Used,
}

// === impl Server ===

impl Server {
    pub(super) fn listen(
        addresses: impl Iterator<Item = String>,
        shared: &Shared,
    ) -> Result<Self, TransportError> {
        let made = |source| TransportError::Socket { address: "requests".into(), source };
        let socket = Socket::new(Protocol::Rep0).map_err(made)?;
        socket.set_opt::<RecvMaxSize>(MESSAGE_BYTES_MAX).map_err(made)?;
        let workers = (0..AT_ONCE).map(|_| Worker::start(&socket, shared)).collect::<nng::Result<Vec<_>>>();
        let workers = workers.map_err(made)?;
        for address in addresses {
            let failed = |source| TransportError::Listen { address: address.clone(), source };
            socket.listen(&address).map_err(failed)?;
        }
        for worker in &workers {
            worker.next();
        }
        let weak = workers.iter().map(Arc::downgrade).collect();
        let reminder = shared.runtime.spawn(remind(weak, shared.clone()));
        Ok(Self { socket, workers, reminder })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.reminder.abort();
        for worker in &self.workers {
            worker.gate.shut();
            worker.aio().cancel();
            worker.aio().wait();
        }
        self.socket.close();
    }
}

// === impl Worker ===

impl Worker {
    fn start(socket: &Socket, shared: &Shared) -> nng::Result<Arc<Self>> {
        let context = Context::new(socket)?;
        let worker =
            Arc::new(Self { context, aio: OnceLock::new(), gate: Gate::default(), turn: Mutex::default() });
        let (weak, shared) = (Arc::downgrade(&worker), shared.clone());
        let aio = Aio::new(move |_, result| {
            if let Some(worker) = weak.upgrade() {
                worker.proceed(result, &shared);
            }
        })?;
        worker.aio.get_or_init(|| aio);
        Ok(worker)
    }

    fn aio(&self) -> &Aio {
        self.aio.get().expect("it is set before the worker is used")
    }

    /// Waits for the next question.
    fn next(&self) {
        self.gate.begin(|| {
            let _ = self.context.recv(self.aio());
        });
    }

    fn ticket(self: Arc<Self>) -> Ticket {
        let mut turn = self.turn.lock();
        turn.number += 1;
        turn.given = Some(Instant::now());
        let number = turn.number;
        drop(turn);
        Ticket(Right::Turn(self, number))
    }

    /// Ends a turn whose ticket is still good. Returns whether it was.
    fn end_turn(&self, is_it: impl FnOnce(&Turn, Instant) -> bool) -> bool {
        let mut turn = self.turn.lock();
        let ends = turn.given.is_some_and(|given| is_it(&turn, given));
        if ends {
            turn.given = None;
        }
        ends
    }

    /// Runs on a thread of NNG's.
    fn proceed(self: Arc<Self>, result: AioResult, shared: &Shared) {
        match result {
            AioResult::Recv(Ok(message)) => {
                let message = message.as_slice().to_vec();
                let ticket = self.ticket();
                // Without room the ticket is dropped, and whoever asked asks again.
                if let Err(TrySendError::Full(_)) = shared.events.try_send(Event::Request { message, ticket })
                {
                    shared.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            AioResult::Recv(Err(nng::Error::Closed | nng::Error::Canceled)) => {}
            // An answer was sent, or something failed.
            _ => self.next(),
        }
    }
}

// === impl Ticket ===

impl Ticket {
    /// The right to answer a question that did not come over NNG.
    pub fn of(answer: impl FnOnce(&[u8]) + Send + 'static) -> Self {
        Self(Right::Other(Box::new(answer)))
    }

    /// Answers.
    pub fn reply(mut self, message: &[u8]) {
        match std::mem::replace(&mut self.0, Right::Used) {
            Right::Turn(worker, number) if worker.end_turn(|turn, _| turn.number == number) => {
                worker.gate.begin(|| {
                    let _ = worker.context.send(worker.aio(), Message::from(message));
                });
            }
            Right::Other(answer) => answer(message),
            Right::Turn(..) | Right::Used => {}
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Right::Turn(worker, number) = &self.0
            && worker.end_turn(|turn, _| turn.number == *number)
        {
            worker.next();
        }
    }
}

/// Takes back tickets that have been kept for so long that nobody waits for their answers any more.
async fn remind(workers: Vec<Weak<Worker>>, shared: Shared) {
    let limit = shared.settings.request_timeout.max(Duration::from_millis(1));
    loop {
        tokio::time::sleep(limit / 4).await;
        for worker in workers.iter().filter_map(Weak::upgrade) {
            if worker.end_turn(|_, given| given.elapsed() >= limit) {
                shared.counts.requests_unanswered.fetch_add(1, Ordering::Relaxed);
                worker.next();
            }
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket")
    }
}
