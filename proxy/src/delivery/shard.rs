//! One shard: a thread, its epoll and its subscribers.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use rustix::event::{Timespec, epoll};
use slab::Slab;
use smallvec::SmallVec;

use super::{
    conn::{Conn, Local, NONE, NewSubscriber, Sub},
    inbox::{Command, Inbox},
    pipe::NO_KEY,
    settings::Settings,
    sink::Sink,
    stats::{CutReason, Stats},
    sweep::{Sweep, TICK},
};
use crate::{
    hub::{Hub, Topic},
    log::Position,
};

/// How many socket events are taken from the kernel at a time.
const EVENTS: usize = 1024;

/// The epoll key of the inbox. Others are slab indexes, which fit in 32 bits.
const INBOX: u64 = u64::MAX;

/// The state of one shard's thread.
pub(super) struct Shard {
    pub(super) number: usize,
    pub(super) hub: Arc<Hub>,
    pub(super) stats: Arc<Stats>,
    pub(super) settings: Arc<Settings>,
    pub(super) conns: Slab<Conn>,
    pub(super) subs: Slab<Sub>,
    pub(super) locals: Slab<Local>,
    pub(super) sweep: Sweep,
    /// Finds the entry of a topic in `locals`.
    index: HashTable<u32>,
    hasher: RandomState,
    /// Topics with news, as indexes of `locals`, and since when.
    pub(super) dirty: Vec<(u32, Instant)>,
    /// Connections with several topics of which one has news.
    pub(super) merging: Vec<u32>,
    /// Connections to end once nobody iterates over them.
    pub(super) doomed: Vec<(u32, CutReason)>,
    pub(super) log_budget: u32,
    started: Instant,
    inbox: Arc<Inbox>,
    epoll: std::os::fd::OwnedFd,
    stopped: bool,
}

// === impl Shard ===

impl Shard {
    pub(super) fn new(
        number: usize,
        inbox: &Arc<Inbox>,
        hub: &Arc<Hub>,
        settings: &Settings,
        stats: &Arc<Stats>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, inbox.wake_fd(), epoll::EventData::new_u64(INBOX), epoll::EventFlags::IN)?;
        Ok(Self {
            number,
            hub: Arc::clone(hub),
            stats: Arc::clone(stats),
            settings: Arc::new(settings.clone()),
            conns: Slab::new(),
            subs: Slab::new(),
            locals: Slab::new(),
            sweep: Sweep::default(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            dirty: Vec::new(),
            merging: Vec::new(),
            doomed: Vec::new(),
            log_budget: 0,
            started: Instant::now(),
            inbox: Arc::clone(inbox),
            epoll,
            stopped: false,
        })
    }

    /// Serves until told to stop. Everything that waits is taken before anything is written, so that under
    /// load one send carries all that arrived since the last.
    pub(super) fn run(mut self) {
        let mut commands = Vec::new();
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            self.inbox.take(&mut commands);
            for command in commands.drain(..) {
                self.carry_out(command);
            }
            // Nobody would wake it any more.
            if self.stopped {
                return;
            }
            self.deliver_dirty();
            self.poll(&mut events);
            self.sweep_if_due();
            self.bury_doomed();
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Subscribe(subscriber) => self.add(*subscriber),
            Command::Dirty(topic, since) => self.mark_dirty(&topic, since),
            Command::Pipe(pipe) => match pipe.key() {
                NO_KEY => {}
                key if pipe.is_abandoned() => self.end(key, CutReason::Hangup),
                key => self.writable(key),
            },
            Command::Settings(settings) => self.settings = settings,
            Command::Drain(window) => self.start_drain(window),
            Command::Cut(cut) => self.cut(&cut),
            Command::List(sender) => self.list(&sender),
            Command::Stop => self.stopped = true,
        }
    }

    fn poll(&mut self, events: &mut Vec<epoll::Event>) {
        let timeout = if !self.dirty.is_empty() || !self.inbox.may_sleep() {
            Some(Duration::ZERO)
        } else if self.conns.is_empty() {
            None
        } else {
            Some(TICK)
        };
        let timeout = timeout.map(|t| Timespec { tv_sec: 0, tv_nsec: i64::from(t.subsec_nanos()) });
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                // The descriptor is ours and open, so this cannot be waited out.
                tracing::error!(%error, shard = self.number, "epoll failed; the shard stops");
                self.stopped = true;
            }
        }
        for event in events.drain(..) {
            match (event.data.u64(), event.flags) {
                (INBOX, _) => self.inbox.woken(),
                (key, flags) => self.on_socket(key, flags),
            }
        }
    }

    fn on_socket(&mut self, key: u64, flags: epoll::EventFlags) {
        use epoll::EventFlags as Flags;
        let key = u32::try_from(key).expect("keys other than the inbox's are slab indexes");
        if flags.intersects(Flags::RDHUP | Flags::HUP) {
            self.end(key, CutReason::Hangup);
        } else if flags.contains(Flags::ERR) {
            self.end(key, CutReason::Error);
        } else if flags.contains(Flags::OUT) {
            self.writable(key);
        }
    }

    /// A sink that was full has room again.
    fn writable(&mut self, key: u32) {
        if self.conns.get(key as usize).is_some_and(|conn| conn.blocked) {
            self.catch_up(key);
        }
    }

    fn add(&mut self, NewSubscriber { sink, terms }: NewSubscriber) {
        let now = self.now();
        let key = key(self.conns.vacant_key());
        let conn = Conn {
            sink,
            permit: terms.permit,
            identity: terms.identity,
            outbox: None,
            first_sub: NONE,
            last_write: now,
            opened: now,
            expires: terms.expires_at.map_or(u32::MAX, |at| self.tick_of(at)),
            form: terms.form,
            blocked: false,
            several: terms.topics.len() > 1,
            warned: false,
            stuck_since: 0,
        };
        let registered = self.register(&conn.sink, key);
        if conn.sink.is_counted() {
            self.stats.joined();
        }
        self.conns.insert(conn);
        for (topic, cursor) in terms.topics {
            self.join(key, topic, cursor);
        }
        if let Err(error) = registered {
            tracing::warn!(%error, "cannot watch a subscriber's socket; it is closed");
            return self.end(key, CutReason::Error);
        }
        let conn = &mut self.conns[key as usize];
        if let Sink::Pipe(pipe) = &conn.sink {
            pipe.join();
        }
        conn.push(&terms.head);
        conn.say(&terms.preamble);
        self.catch_up(key);
    }

    /// Write interest is edge-triggered: the kernel reports it only after a send found the socket full, so a
    /// socket that keeps up costs nothing beyond this one call.
    fn register(&self, sink: &Sink, key: u32) -> io::Result<()> {
        match sink {
            Sink::Tcp(socket) => {
                let flags = epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
                Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(key.into()), flags)?)
            }
            Sink::Pipe(pipe) => {
                pipe.set_key(key);
                Ok(())
            }
        }
    }

    fn join(&mut self, conn: u32, topic: Arc<Topic>, cursor: Position) {
        topic.count_subscriber(true);
        if self.conns[conn as usize].several {
            // It reads each log when all of them have been looked at, so these must keep a queue for it.
            topic.count_laggard(true);
        }
        let local = self.local_of(topic);
        // Whoever keeps up is at the same place; the newcomer may have looked at the log after the shard did.
        self.deliver(local, None);
        let members = &mut self.locals[local as usize].members;
        let sub = Sub {
            conn,
            topic: local,
            member: key(members.len()),
            next: self.conns[conn as usize].first_sub,
            cursor,
            hole: None,
        };
        let sub = key(self.subs.insert(sub));
        members.push(sub);
        self.conns[conn as usize].first_sub = sub;
    }

    fn local_of(&mut self, topic: Arc<Topic>) -> u32 {
        let hash = |topic: &Arc<Topic>| std::hash::BuildHasher::hash_one(&self.hasher, topic.id());
        let locals = &mut self.locals;
        let found = self.index.entry(
            hash(&topic),
            |i| Arc::ptr_eq(&locals[*i as usize].topic, &topic),
            |i| hash(&locals[*i as usize].topic),
        );
        match found {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                // First the interest, then the look at the log: an event is in one of the two.
                topic.join(self.number);
                let at = topic
                    .take(self.number, Position::default())
                    .map_or(Position::default(), |view| view.head);
                let local = Local { topic, members: SmallVec::new(), at, behind: 0, stuck: 0 };
                let local = key(locals.insert(local));
                entry.insert(local);
                local
            }
        }
    }

    fn mark_dirty(&mut self, topic: &Arc<Topic>, since: Instant) {
        let hash = std::hash::BuildHasher::hash_one(&self.hasher, topic.id());
        let found = self.index.find(hash, |i| Arc::ptr_eq(&self.locals[*i as usize].topic, topic));
        match found {
            Some(local) => self.dirty.push((*local, since)),
            // The last subscriber has left meanwhile.
            None => topic.clear_dirty(self.number),
        }
    }

    /// Ends a connection without a word, now. Nobody may be iterating over members.
    pub(super) fn end(&mut self, key: u32, reason: CutReason) {
        let Some(conn) = self.conns.try_remove(key as usize) else { return };
        let mut next = conn.first_sub;
        while next != NONE {
            next = self.leave(next, &conn);
        }
        if conn.blocked {
            self.stats.count_behind(false);
        }
        if let Sink::Pipe(pipe) = &conn.sink {
            pipe.set_key(NO_KEY);
        }
        conn.sink.finish();
        if !conn.sink.is_counted() {
            return;
        }
        let seconds = u64::from(self.now() - conn.opened) * u64::from(TICK.subsec_millis()) / 1000;
        self.stats.left(reason, seconds);
        tracing::debug!(address = %conn.address(), subject = conn.subject(), seconds, reason = reason.as_str(), "stream ended");
    }

    fn leave(&mut self, sub: u32, conn: &Conn) -> u32 {
        let sub = self.subs.remove(sub as usize);
        let local = &mut self.locals[sub.topic as usize];
        local.topic.count_subscriber(false);
        local.members.swap_remove(sub.member as usize);
        if let Some(moved) = local.members.get(sub.member as usize) {
            self.subs[*moved as usize].member = sub.member;
        }
        if conn.several {
            local.topic.count_laggard(false);
        }
        if conn.blocked {
            self.count_behind(sub.topic, false);
        }
        if conn.stuck_since > 0 {
            self.count_stuck(sub.topic, false);
        }
        if self.locals[sub.topic as usize].members.is_empty() {
            self.forget_local(sub.topic);
        }
        sub.next
    }

    fn forget_local(&mut self, local: u32) {
        let topic = self.locals.remove(local as usize).topic;
        let hash = std::hash::BuildHasher::hash_one(&self.hasher, topic.id());
        if let Ok(entry) = self.index.find_entry(hash, |i| *i == local) {
            entry.remove();
        }
        topic.leave(self.number);
        topic.clear_dirty(self.number);
    }

    /// Calls `f` with each topic of a connection.
    pub(super) fn each_sub(&mut self, key: u32, f: impl Fn(&mut Self, u32)) {
        let mut next = self.conns[key as usize].first_sub;
        while next != NONE {
            let (topic, following) = (self.subs[next as usize].topic, self.subs[next as usize].next);
            f(self, topic);
            next = following;
        }
    }

    /// Ticks since the shard started.
    pub(super) fn now(&self) -> u32 {
        let ticks = self.started.elapsed().as_millis() / TICK.as_millis();
        // Ticks fill 32 bits after 17 years.
        u32::try_from(ticks).unwrap_or(u32::MAX - 1)
    }

    pub(super) fn bury_doomed(&mut self) {
        while let Some((key, reason)) = self.doomed.pop() {
            self.end(key, reason);
        }
    }
}

/// A slab index in the 32 bits that entries keep.
pub(super) fn key(index: usize) -> u32 {
    u32::try_from(index).expect("a process has fewer descriptors than 2^32")
}
