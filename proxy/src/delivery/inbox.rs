//! The way into a shard: commands from other threads, and a wake-up if the shard sleeps.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::mpsc;

use super::{conn::NewSubscriber, pipe::Pipe, settings::Settings};
use crate::hub::Topic;

/// Something for a shard to do.
pub enum Command {
    /// Take over a subscriber.
    Subscribe(Box<NewSubscriber>),
    /// Look at a topic's log, which has had news since then. At most one of these waits for each topic.
    Dirty(Arc<Topic>, Instant),
    /// A pipe that was full has room, or its reader is gone. At most one of these waits for each pipe.
    Pipe(Arc<Pipe>),
    /// Use other settings.
    Settings(Arc<Settings>),
    /// End all connections, spread over this time, and whatever connects later at once.
    Drain(Duration),
    /// End some connections now.
    Cut(Arc<Cut>),
    /// Describe the connections.
    List(mpsc::Sender<SubscriberInfo>),
    /// End the thread.
    Stop,
}

/// Which connections to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Those whose token has this `sub`.
    Subject(String),
    /// Those whose token has this `jti`.
    TokenId(String),
    /// Those whose token was signed with the key of this `kid`.
    KeyId(String),
    /// This many of those that are furthest behind, to get memory back.
    Slowest(usize),
}

/// One connection as an administrator sees it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SubscriberInfo {
    /// The client's address, as far as trusted proxies tell it.
    pub address: IpAddr,
    /// The token's `sub`.
    pub subject: Option<String>,
    /// The names of its topics.
    pub topics: Vec<String>,
    /// Seconds since it connected.
    pub age_seconds: u64,
    /// Events it is behind.
    pub behind: u64,
    /// How it is framed.
    pub form: &'static str,
}

/// A shard's inbox.
///
/// It needs no bound of its own: subscribers are admitted before they get here, topics and pipes wait at most
/// once each, and the rest comes from administrators.
pub struct Inbox {
    commands: Mutex<Vec<Command>>,
    asleep: AtomicBool,
    wake: OwnedFd,
}

// === impl Inbox ===

impl Inbox {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            commands: Mutex::default(),
            asleep: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Leaves a command and wakes the shard if it sleeps.
    pub fn push(&self, command: Command) {
        self.commands.lock().push(command);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // Writing to an eventfd fails only when its counter is full, and then it is readable anyway.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }

    /// A topic has events that the shard has not been told of.
    pub fn dirty(&self, topic: Arc<Topic>) {
        self.push(Command::Dirty(topic, Instant::now()));
    }

    /// Takes everything that waits.
    pub(super) fn take(&self, into: &mut Vec<Command>) {
        debug_assert!(into.is_empty(), "commands are carried out before more are taken");
        std::mem::swap(&mut *self.commands.lock(), into);
    }

    /// Announces that the shard is going to sleep. It must not if this returns `false`.
    pub(super) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let empty = self.commands.lock().is_empty();
        if !empty {
            self.asleep.store(false, Ordering::SeqCst);
        }
        empty
    }

    pub(super) fn woken(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
