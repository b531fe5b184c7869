//! Messages between instances over NNG (the protocol's implementation in C, version 1.4).
//!
//! The inbox is a SUB socket that listens and takes everything. A link is a PUB socket with one dialler: what is
//! published on it goes to one instance, and a peer that stands still fills only its own queue. Requests go over REQ
//! and REP. NNG drops silently when a queue is full; the links above never let one fill. PUSH is not used: its
//! implementation frees memory that it uses again when a peer goes away.
//!
//! NNG calls back on threads of its own. Callbacks copy and hand on, and never wait.

mod gate;
mod inbox;
mod link;
mod message;
mod requests;
mod server;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use self::{inbox::Inbox, link::Link, server::Server};
pub use self::{message::Message, requests::RequestFailed, server::Ticket};
use crate::{identity::Address, wire::BODY_BYTES_MAX};

/// The largest message. NNG refuses larger ones before it takes memory for them.
const MESSAGE_BYTES_MAX: usize = BODY_BYTES_MAX + 1024;

/// How sockets behave.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Messages that were received and wait for the driver.
    pub inbox: usize,
    /// The longest time between two attempts to reach an instance.
    pub reconnect_max: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
}

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// A message on the inbox.
    Message(Message),
    /// A question, to be answered with the ticket.
    Request {
        /// The question.
        message: Vec<u8>,
        /// Answers it.
        ticket: Ticket,
    },
    /// The answer to a question, or that there is none.
    Reply {
        /// As given to [`Transport::request`].
        tag: u64,
        /// The answer.
        answer: Result<Vec<u8>, RequestFailed>,
    },
    /// A link is up: anew, if it was before.
    Up(Address),
    /// A link is down.
    Down(Address),
}

/// Why the transport does not work as configured.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Nothing can be received at this address.
    #[error(
        "cannot listen on {address}: {source}; nng.listen_addresses needs two free ports in a row for each"
    )]
    Listen {
        /// The address.
        address: String,
        /// What NNG says.
        source: nng::Error,
    },
    /// A socket cannot be made.
    #[error("cannot make a socket for {address}: {source}")]
    Socket {
        /// For what.
        address: String,
        /// What NNG says.
        source: nng::Error,
    },
}

/// What the sockets have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Links, up or not.
    pub links: usize,
    /// Messages sent.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Messages received.
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Times that the driver did not keep up and a message waited in NNG.
    pub inbox_full: u64,
    /// Questions that were not taken because too many waited.
    pub requests_refused: u64,
    /// Questions without an answer in time.
    pub requests_failed: u64,
    /// Questions of others that were not answered here in time.
    pub requests_unanswered: u64,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    inbox_full: AtomicU64,
    requests_refused: AtomicU64,
    requests_failed: AtomicU64,
    requests_unanswered: AtomicU64,
}

/// What callbacks share.
#[derive(Clone)]
struct Shared {
    events: mpsc::Sender<Event>,
    counts: Arc<Counts>,
    /// Links that went up or down wait to be told.
    changed: Arc<Notify>,
    runtime: Handle,
    settings: Settings,
}

/// See the module.
pub struct Transport {
    shared: Shared,
    links: Arc<Mutex<HashMap<Address, Link>>>,
    teller: JoinHandle<()>,
    _inbox: Inbox,
    _server: Server,
}

/// A socket that only answers: [`Event::Request`] is all that happens.
pub struct Answering {
    _server: Server,
}

// === impl Transport ===

impl Transport {
    /// Listens on these addresses and the control addresses beside them. Must be called within a Tokio runtime.
    pub fn start(
        listen: &[Address],
        settings: Settings,
    ) -> Result<(Self, mpsc::Receiver<Event>), TransportError> {
        let (shared, receiver) = Shared::new(settings);
        let inbox = Inbox::listen(listen, &shared)?;
        let server = Server::listen(listen.iter().map(Address::control), &shared)?;
        let links = Arc::new(Mutex::new(HashMap::new()));
        let teller = tokio::spawn(tell(shared.clone(), Arc::clone(&links)));
        Ok((Self { shared, links, teller, _inbox: inbox, _server: server }, receiver))
    }

    /// Keeps a link to this address up, from now on.
    pub fn dial(&self, to: &Address) -> Result<(), TransportError> {
        let mut links = self.links.lock();
        if !links.contains_key(to) {
            links.insert(to.clone(), Link::dial(to, &self.shared)?);
        }
        Ok(())
    }

    /// No longer.
    pub fn hang_up(&self, to: &Address) {
        let link = self.links.lock().remove(to);
        // Closing waits for NNG, which is neither for a task nor for NNG's own threads.
        self.shared.runtime.spawn_blocking(move || drop(link));
    }

    /// Sends on a link, without waiting. `false` if there is none, or the message is one that nobody would take.
    pub fn send(&self, to: &Address, message: impl Into<Message>) -> bool {
        let message = message.into();
        let bytes = message.as_ref().len();
        let fits = bytes <= MESSAGE_BYTES_MAX;
        let sent = fits && self.links.lock().get(to).is_some_and(|link| link.send(message));
        if sent {
            self.shared.counts.sent.fetch_add(1, Ordering::Relaxed);
            self.shared.counts.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        sent
    }

    /// Asks at an address that is dialled. There will be one [`Event::Reply`] for the tag.
    pub fn request(&self, to: &Address, tag: u64, message: &[u8]) {
        let taken =
            self.links.lock().get_mut(to).is_some_and(|link| link.request(tag, message, &self.shared));
        if !taken {
            self.shared.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
            self.shared.hand_on(Event::Reply { tag, answer: Err(RequestFailed) });
        }
    }

    /// What the sockets have done.
    pub fn stats(&self) -> Stats {
        let counts = &self.shared.counts;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            links: self.links.lock().len(),
            sent: of(&counts.sent),
            sent_bytes: of(&counts.sent_bytes),
            received: of(&counts.received),
            received_bytes: of(&counts.received_bytes),
            inbox_full: of(&counts.inbox_full),
            requests_refused: of(&counts.requests_refused),
            requests_failed: of(&counts.requests_failed),
            requests_unanswered: of(&counts.requests_unanswered),
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.teller.abort();
    }
}

// === impl Answering ===

impl Answering {
    /// Listens on this address. Must be called within a Tokio runtime.
    pub fn start(
        listen: &Address,
        settings: Settings,
    ) -> Result<(Self, mpsc::Receiver<Event>), TransportError> {
        let (shared, receiver) = Shared::new(settings);
        let server = Server::listen(std::iter::once(listen.to_string()), &shared)?;
        Ok((Self { _server: server }, receiver))
    }
}

// === impl Shared ===

impl Shared {
    fn new(settings: Settings) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(settings.inbox.max(1));
        let shared = Self {
            events,
            counts: Arc::new(Counts::default()),
            changed: Arc::new(Notify::new()),
            runtime: Handle::current(),
            settings,
        };
        (shared, receiver)
    }

    /// Hands an event to the driver from a callback, which must not wait: if there is no room, a task waits.
    fn hand_on(&self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.counts.inbox_full.fetch_add(1, Ordering::Relaxed);
            let events = self.events.clone();
            self.runtime.spawn(async move {
                // Without a driver nobody is interested any more.
                let _ = events.send(event).await;
            });
        }
    }
}

/// Tells the driver which links went up or down. NNG's callbacks only count.
async fn tell(shared: Shared, links: Arc<Mutex<HashMap<Address, Link>>>) {
    loop {
        shared.changed.notified().await;
        let mut news = Vec::new();
        for (address, link) in links.lock().iter_mut() {
            for up in link.take_changes() {
                news.push(if up { Event::Up(address.clone()) } else { Event::Down(address.clone()) });
            }
        }
        for event in news {
            if shared.events.send(event).await.is_err() {
                return;
            }
        }
    }
}
