//! Answering others.

use std::sync::{Arc, OnceLock, atomic::Ordering};

use nng::{
    Aio, AioResult, Context, Message, Protocol, Socket,
    options::{Options as _, RecvMaxSize},
};
use tokio::sync::mpsc::error::TrySendError;

use super::{Event, MESSAGE_BYTES_MAX, Shared, TransportError, gate::Gate};

/// Questions that are answered at a time. Further ones wait with NNG.
const AT_ONCE: usize = 8;

/// See the module.
pub(super) struct Server {
    socket: Socket,
    workers: Vec<Arc<Worker>>,
}

struct Worker {
    context: Context,
    /// Made after the worker, which its callback needs.
    aio: OnceLock<Aio>,
    gate: Gate,
}

/// The right to answer a question. Dropped, the question stays without an answer.
pub struct Ticket {
    worker: Option<Arc<Worker>>,
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
        Ok(Self { socket, workers })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
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
        let worker = Arc::new(Self { context, aio: OnceLock::new(), gate: Gate::default() });
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

    /// Runs on a thread of NNG's.
    fn proceed(self: Arc<Self>, result: AioResult, shared: &Shared) {
        match result {
            AioResult::Recv(Ok(message)) => {
                let message = message.as_slice().to_vec();
                let ticket = Ticket { worker: Some(self) };
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
    /// Answers.
    pub fn reply(mut self, message: &[u8]) {
        if let Some(worker) = self.worker.take() {
            worker.gate.begin(|| {
                let _ = worker.context.send(worker.aio(), Message::from(message));
            });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.next();
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket")
    }
}
