//! The socket that sends to one instance, and the one that asks it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nng::{
    DialerBuilder, PipeEvent, Protocol, Socket,
    options::{Options as _, ReconnectMaxTime, ReconnectMinTime, SendBufferSize, transport::tcp::NoDelay},
};

use super::{Message, Shared, TransportError, requests::Requests};
use crate::identity::Address;

/// Messages that wait in NNG: more than are ever on their way, so it does not drop.
const QUEUE: i32 = 1024;

/// The first attempt to connect again is made after this time.
const RECONNECT_MIN: Duration = Duration::from_millis(50);

/// See the module.
pub(super) struct Link {
    socket: Socket,
    /// How often the link went up or down. It begins down, so it is up while this is odd.
    changes: Arc<AtomicU64>,
    told: u64,
    address: Address,
    requests: Option<Requests>,
}

// === impl Link ===

impl Link {
    pub(super) fn dial(to: &Address, shared: &Shared) -> Result<Self, TransportError> {
        let failed = |source| TransportError::Socket { address: to.to_string(), source };
        let socket = Socket::new(Protocol::Pub0).map_err(failed)?;
        socket.set_opt::<SendBufferSize>(QUEUE).map_err(failed)?;
        let changes = Arc::new(AtomicU64::new(0));
        let (counter, bell) = (Arc::clone(&changes), Arc::clone(&shared.changed));
        socket
            .pipe_notify(move |_, event| {
                // With one dialler there is one pipe at a time, so these alternate.
                if matches!(event, PipeEvent::AddPost | PipeEvent::RemovePost) {
                    counter.fetch_add(1, Ordering::SeqCst);
                    bell.notify_one();
                }
            })
            .map_err(failed)?;
        dial(&socket, to.as_str(), shared).map_err(failed)?;
        Ok(Self { socket, changes, told: 0, address: to.clone(), requests: None })
    }

    /// Sends without waiting.
    pub(super) fn send(&self, message: Message) -> bool {
        self.socket.try_send(message.into_nng()).is_ok()
    }

    /// Asks. `false` if too many questions wait.
    pub(super) fn request(&mut self, tag: u64, message: &[u8], shared: &Shared) -> bool {
        if self.requests.is_none() {
            self.requests = Requests::dial(&self.address.control(), shared).ok();
        }
        self.requests.as_ref().is_some_and(|requests| requests.ask(tag, message))
    }

    /// The changes since the last call: whether the link went up, for each.
    pub(super) fn take_changes(&mut self) -> impl Iterator<Item = bool> + use<> {
        let (from, to) = (self.told, self.changes.load(Ordering::SeqCst));
        self.told = to;
        // Of many only the last two matter: that it went down, and that it is up again.
        (from.max(to.saturating_sub(2))..to).map(|before| before % 2 == 0)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.requests = None;
        self.socket.close();
    }
}

/// Dials and keeps dialling.
pub(super) fn dial(socket: &Socket, to: &str, shared: &Shared) -> nng::Result<()> {
    let dialer = DialerBuilder::new(socket, to)?;
    dialer.set_opt::<ReconnectMinTime>(Some(RECONNECT_MIN))?;
    dialer.set_opt::<ReconnectMaxTime>(Some(shared.settings.reconnect_max.max(RECONNECT_MIN)))?;
    if to.starts_with("tcp") || to.starts_with("tls") {
        dialer.set_opt::<NoDelay>(true)?;
    }
    dialer.start(true).map_err(|(_, error)| error)?;
    Ok(())
}
