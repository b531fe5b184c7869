//! Delivery: shards, one thread each, that own the subscribers' sockets.
//!
//! A subscriber is an entry in a slab, a place in its topics' member lists and a position in each topic's log;
//! it has no task, no buffer and no queue of its own. Delivering is a loop of non-blocking sends of the part
//! of the log between the position and the end.

pub mod conn;
mod fanout;
mod inbox;
mod lag;
mod merge;
pub mod pipe;
pub mod settings;
mod shard;
pub mod sink;
pub mod stats;
mod sweep;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

pub(crate) use self::sweep::jittered_ms;
pub use self::{
    conn::{Form, Identity, NewSubscriber, Terms},
    inbox::{Command, Cut, Inbox, SubscriberInfo},
    settings::{Backpressure, Settings},
    stats::{CutReason, Stats},
};
use crate::hub::{Hub, topic::SHARDS_MAX};

/// All shards of this instance.
pub struct Delivery {
    inboxes: Vec<Arc<Inbox>>,
    threads: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    next: AtomicUsize,
    stats: Arc<Stats>,
}

// === impl Delivery ===

impl Delivery {
    /// The inboxes of `shards` shards, which a hub is made with before the shards start.
    pub fn inboxes(shards: usize) -> io::Result<Vec<Arc<Inbox>>> {
        (0..shards.clamp(1, SHARDS_MAX)).map(|_| Ok(Arc::new(Inbox::new()?))).collect()
    }

    /// Starts one thread for each inbox.
    pub fn start(
        inboxes: Vec<Arc<Inbox>>,
        hub: &Arc<Hub>,
        settings: &Settings,
        stats: &Arc<Stats>,
    ) -> io::Result<Self> {
        let start = |(number, inbox): (usize, &Arc<Inbox>)| {
            let shard = shard::Shard::new(number, inbox, hub, settings, stats)?;
            thread::Builder::new().name(format!("delivery-{number}")).spawn(move || shard.run())
        };
        let threads = inboxes.iter().enumerate().map(start).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { inboxes, threads: threads.into(), next: AtomicUsize::new(0), stats: Arc::clone(stats) })
    }

    /// Hands a subscriber over to the next shard in turn.
    pub fn subscribe(&self, subscriber: NewSubscriber) {
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len();
        self.inboxes[shard].push(Command::Subscribe(Box::new(subscriber)));
    }

    /// An inbox to hand a subscriber to whose sink has to know it, and the way back from that sink.
    pub fn next_inbox(&self) -> &Arc<Inbox> {
        &self.inboxes[self.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len()]
    }

    /// The inboxes of all shards, in their order.
    pub(crate) fn all_inboxes(&self) -> &[Arc<Inbox>] {
        &self.inboxes
    }

    /// Whether no shard's thread has ended.
    pub fn is_alive(&self) -> bool {
        self.threads.lock().iter().all(|thread| !thread.is_finished())
    }

    /// Tells every shard the same.
    pub fn tell_all(&self, command: impl Fn() -> Command) {
        for inbox in &self.inboxes {
            inbox.push(command());
        }
    }

    /// What has been delivered so far.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Ends the threads and with them all connections that are left.
    pub fn stop(&self) {
        self.tell_all(|| Command::Stop);
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a delivery shard ended by a panic");
            }
        }
    }
}
