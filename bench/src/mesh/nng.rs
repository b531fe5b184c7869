//! A bare NNG pipe: a PUB socket that dials a SUB socket, and another pair for acknowledgements, since NNG drops what
//! does not fit into its queues. The mesh uses the same sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Thread;
use std::time::{Duration, Instant};

use nng::options::protocol::pubsub::Subscribe;
use nng::options::transport::tcp::NoDelay;
use nng::options::{Options as _, RecvBufferSize, SendBufferSize};
use nng::{Aio, AioResult, DialerBuilder, Message, Protocol, Socket};
use parking_lot::Mutex as ParkingMutex;

use super::Sender;
use super::tally::Stamped;
use crate::error::{BenchError, Result, failed};

/// Messages on their way at most, as in the mesh.
const WINDOW: u64 = 256;

/// So many messages are acknowledged together.
const ACK_EVERY: u64 = 16;

/// How long the two ends may take to find each other.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sending end.
pub(super) struct Out {
    socket: Socket,
    sent: u64,
    acknowledged: Arc<AtomicU64>,
    _acks: Inbox,
}

/// A SUB socket whose messages are handled on NNG's threads.
struct Inbox {
    _socket: Socket,
    _aio: Aio,
}

// === impl Out ===

impl Out {
    pub(super) fn connect(port: u16, back: u16) -> Result<Self> {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let (known, sender): (_, Thread) = (Arc::clone(&acknowledged), std::thread::current());
        let acks = Inbox::listen(back, move |message| {
            if let Some(count) = message.first_chunk() {
                known.store(u64::from_le_bytes(*count), Ordering::Release);
                sender.unpark();
            }
        })?;
        let socket = dial(port)?;
        let mut out = Self { socket, sent: 0, acknowledged, _acks: acks };
        out.greet()?;
        Ok(out)
    }

    /// What is published before the pipe is there is lost, so this is repeated until it is answered.
    fn greet(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.acknowledged.swap(0, Ordering::Acquire) == 0 {
            if Instant::now() > deadline {
                return Err(failed("the NNG pipe does not come up"));
            }
            self.publish(&[])?;
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    fn publish(&self, message: &[u8]) -> Result<()> {
        self.socket.try_send(Message::from(message)).map_err(|(_, error)| failed_by(error))
    }
}

impl Sender for Out {
    fn send(&mut self, events: &[Stamped]) -> Result<()> {
        while self.sent - self.acknowledged.load(Ordering::Acquire).min(self.sent) >= WINDOW {
            std::thread::park_timeout(Duration::from_millis(100));
        }
        let mut message = Message::with_capacity(size_of_val(events));
        for event in events {
            message.push_back(&event.0);
        }
        self.socket.try_send(message).map_err(|(_, error)| failed_by(error))?;
        self.sent += 1;
        Ok(())
    }
}

/// Receives messages until `take` says that it was the last.
pub(super) fn receive(
    port: u16,
    back: u16,
    ready: impl FnOnce() -> Result<()>,
    mut take: impl FnMut(&[u8]) -> bool + Send + 'static,
) -> Result<()> {
    let acks = dial(back)?;
    let (done, until_done): (SyncSender<()>, _) = sync_channel(1);
    let mut received = 0;
    let _inbox = Inbox::listen(port, move |message| {
        let ack = |count: u64| {
            let _ = acks.try_send(Message::from(&count.to_le_bytes()[..]));
        };
        if message.is_empty() {
            // A greeting. The sender takes any number for an answer, and forgets it.
            return ack(1);
        }
        received += 1;
        if received % ACK_EVERY == 0 {
            ack(received);
        }
        if take(message) {
            let _ = done.try_send(());
        }
    })?;
    ready()?;
    until_done.recv().map_err(|_| failed("the NNG inbox is gone"))
}

fn dial(port: u16) -> Result<Socket> {
    let socket = Socket::new(Protocol::Pub0).map_err(failed_by)?;
    socket.set_opt::<SendBufferSize>(1024).map_err(failed_by)?;
    let dialer = DialerBuilder::new(&socket, &url(port)).map_err(failed_by)?;
    dialer.set_opt::<NoDelay>(true).map_err(failed_by)?;
    dialer.set_opt::<nng::options::ReconnectMinTime>(Some(Duration::from_millis(20))).map_err(failed_by)?;
    dialer.start(true).map_err(|(_, error)| failed_by(error))?;
    Ok(socket)
}

// === impl Inbox ===

impl Inbox {
    fn listen(port: u16, mut handle: impl FnMut(&[u8]) + Send + 'static) -> Result<Self> {
        let socket = Socket::new(Protocol::Sub0).map_err(failed_by)?;
        socket.set_opt::<Subscribe>(Vec::new()).map_err(failed_by)?;
        socket.set_opt::<RecvBufferSize>(8192).map_err(failed_by)?;
        let receiver = socket.clone();
        // Called by one thread at a time, since there is one operation.
        let handle = std::sync::Arc::new(ParkingMutex::new(move |message: &[u8]| handle(message)));
        let aio = Aio::new(move |aio, result| {
            if let AioResult::Recv(Ok(message)) = &result {
                (handle.lock())(message.as_slice());
            }
            if !matches!(result, AioResult::Recv(Err(nng::Error::Closed | nng::Error::Canceled))) {
                let _ = receiver.recv_async(&aio);
            }
        })
        .map_err(failed_by)?;
        socket.listen(&url(port)).map_err(failed_by)?;
        socket.recv_async(&aio).map_err(failed_by)?;
        Ok(Self { _socket: socket, _aio: aio })
    }
}

fn url(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}")
}

fn failed_by(error: nng::Error) -> BenchError {
    failed(format!("NNG says: {error}"))
}
