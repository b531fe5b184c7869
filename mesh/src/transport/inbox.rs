//! The socket that receives.

use std::sync::{Arc, atomic::Ordering};

use nng::{
    Aio, AioResult, Protocol, Socket,
    options::{Options as _, RecvBufferSize, RecvMaxSize, protocol::pubsub::Subscribe},
};
use tokio::sync::mpsc::error::TrySendError;

use super::{Event, MESSAGE_BYTES_MAX, Message, Shared, TransportError, gate::Gate};
use crate::identity::Address;

/// NNG's largest receive queue, in messages.
const QUEUE: i32 = 8192;

/// See the module.
pub(super) struct Inbox {
    socket: Socket,
    // One operation at a time: NNG 1.4 has a rare fault with more (its issue 1523).
    aio: Aio,
    gate: Arc<Gate>,
}

/// What the callback needs to receive again.
#[derive(Clone)]
struct Receiver {
    socket: Socket,
    gate: Arc<Gate>,
}

// === impl Inbox ===

impl Inbox {
    pub(super) fn listen(addresses: &[Address], shared: &Shared) -> Result<Self, TransportError> {
        let made = |source| TransportError::Socket { address: "the inbox".into(), source };
        let socket = Socket::new(Protocol::Sub0).map_err(made)?;
        // Who sends has already chosen whom to send to.
        socket.set_opt::<Subscribe>(Vec::new()).map_err(made)?;
        socket.set_opt::<RecvBufferSize>(QUEUE).map_err(made)?;
        socket.set_opt::<RecvMaxSize>(MESSAGE_BYTES_MAX).map_err(made)?;
        let gate = Arc::new(Gate::default());
        let (shared, receiver) =
            (shared.clone(), Receiver { socket: socket.clone(), gate: Arc::clone(&gate) });
        let aio = Aio::new(move |aio, result| receive(&aio, result, &receiver, &shared)).map_err(made)?;
        for address in addresses {
            let failed = |source| TransportError::Listen { address: address.to_string(), source };
            socket.listen(address.as_str()).map_err(failed)?;
        }
        socket.recv_async(&aio).map_err(made)?;
        Ok(Self { socket, aio, gate })
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // In this order, so that no operation is under way on a socket that closes.
        self.gate.shut();
        self.aio.cancel();
        self.aio.wait();
        self.socket.close();
    }
}

/// Runs on a thread of NNG's, so it does not wait: if the driver is behind, the next message stays with NNG until
/// there is room.
fn receive(aio: &Aio, result: AioResult, receiver: &Receiver, shared: &Shared) {
    let message = match result {
        AioResult::Recv(Ok(message)) => Message::from(message),
        AioResult::Recv(Err(nng::Error::Closed | nng::Error::Canceled)) => return,
        _ => return receiver.again(aio),
    };
    shared.counts.received.fetch_add(1, Ordering::Relaxed);
    shared.counts.received_bytes.fetch_add(message.as_ref().len() as u64, Ordering::Relaxed);
    match shared.events.try_send(Event::Message(message)) {
        Ok(()) => receiver.again(aio),
        Err(TrySendError::Full(event)) => {
            shared.counts.inbox_full.fetch_add(1, Ordering::Relaxed);
            let (events, receiver, aio) = (shared.events.clone(), receiver.clone(), aio.clone());
            shared.runtime.spawn(async move {
                if events.send(event).await.is_ok() {
                    receiver.again(&aio);
                }
            });
        }
        Err(TrySendError::Closed(_)) => {}
    }
}

// === impl Receiver ===

impl Receiver {
    /// Waits for the next message.
    fn again(&self, aio: &Aio) {
        self.gate.begin(|| {
            let _ = self.socket.recv_async(aio);
        });
    }
}
