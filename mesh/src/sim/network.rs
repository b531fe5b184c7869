//! The simulated network: links that dial by themselves, as NNG's do, and lose what it loses.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    time::Duration,
};

use bytes::Bytes;
use hashbrown::HashMap;

use super::{REQUEST_TIMEOUT, Random, address};
use crate::{
    identity::{Address, Session},
    node::Sender,
};

/// How long a dialler waits before it tries again.
const REDIAL: Duration = Duration::from_millis(50);

/// What a message takes on a wire beside its body: 84 bytes of envelope, 8 of NNG's length, 78 of TCP, IP and Ethernet, and
/// as many again for the segment that acknowledges it.
pub const MESSAGE_OVERHEAD: u64 = 84 + 8 + 2 * 78;

/// What the network does to messages.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Every message takes at least so long.
    pub delay: Duration,
    /// And up to so much more.
    pub jitter: Duration,
    /// The share of messages on links that are lost though the connection lasts, as when a queue is full.
    pub loss: f64,
    /// The share that arrives twice.
    pub repeat: f64,
    /// The share of requests without an answer.
    pub unanswered: f64,
    /// Bytes a second that an instance can send, and as many that it can receive; without a bound if there is none.
    pub rate: Option<u64>,
}

/// What was sent.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Bytes of messages' bodies, by instance that sent them. Each takes [`MESSAGE_OVERHEAD`] more on the wire.
    pub bytes: Vec<u64>,
    /// Messages, by instance that sent them.
    pub messages: Vec<u64>,
    /// Events queued for other instances.
    pub forwards: u64,
    /// Events or batches that receivers were told will not come.
    pub lost: u64,
    /// Messages that were refused.
    pub refused: u64,
}

pub(super) enum Action {
    Wake(usize, Session),
    Arrive { to: usize, message: (Sender, Bytes) },
    Connect { from: usize, to: usize },
    Broken { from: usize, to: usize },
    Ask { to: usize, asker: (usize, Session), tag: u64, question: (Sender, Bytes) },
    Answer { to: (usize, Session), tag: u64, answer: Option<(Sender, Bytes)> },
}

pub(super) struct Network {
    pub(super) faults: Faults,
    queue: BinaryHeap<Reverse<Entry>>,
    next: u64,
    /// When each instance will have sent and received what it has to.
    busy_until: Vec<(Duration, Duration)>,
    links: HashMap<(usize, usize), Link>,
    blocked: BTreeSet<(usize, usize)>,
}

/// Something to be done, in order of time and then of when it was entered.
struct Entry {
    at: Duration,
    number: u64,
    action: Action,
}

#[derive(Default)]
struct Link {
    up: bool,
    /// Messages keep their order: the next one does not arrive before this.
    busy_until: Duration,
}

// === impl Faults ===

impl Faults {
    /// A network that only takes time.
    pub fn none() -> Self {
        Self {
            delay: Duration::from_micros(100),
            jitter: Duration::from_micros(50),
            loss: 0.0,
            repeat: 0.0,
            unanswered: 0.0,
            rate: None,
        }
    }
}

// === impl Traffic ===

impl Traffic {
    pub(super) fn new(instances: usize) -> Self {
        Self { bytes: vec![0; instances], messages: vec![0; instances], forwards: 0, lost: 0, refused: 0 }
    }

    pub(super) fn sent(&mut self, from: usize, bytes: usize) {
        self.bytes[from] += bytes as u64;
        self.messages[from] += 1;
    }

    /// Bytes that an instance has put on the wire.
    pub fn on_the_wire(&self, instance: usize) -> u64 {
        self.bytes[instance] + self.messages[instance] * MESSAGE_OVERHEAD
    }
}

// === impl Network ===

impl Network {
    pub(super) fn new(faults: Faults, instances: usize) -> Self {
        Self {
            faults,
            queue: BinaryHeap::new(),
            next: 0,
            busy_until: vec![(Duration::ZERO, Duration::ZERO); instances],
            links: HashMap::new(),
            blocked: BTreeSet::new(),
        }
    }

    pub(super) fn at(&mut self, at: Duration, action: Action) {
        self.queue.push(Reverse(Entry { at, number: self.next, action }));
        self.next += 1;
    }

    /// The next action until `end`.
    pub(super) fn next(&mut self, end: Duration) -> Option<(Duration, Action)> {
        self.queue.peek().filter(|Reverse(entry)| entry.at <= end)?;
        self.queue.pop().map(|Reverse(entry)| (entry.at, entry.action))
    }

    pub(super) fn set_reachable(&mut self, from: usize, to: usize, reachable: bool) {
        if reachable {
            self.blocked.remove(&(from, to));
        } else {
            self.blocked.insert((from, to));
        }
    }

    pub(super) fn dial(&mut self, now: Duration, from: usize, to: &Address) {
        let Some(to) = self.index(to) else { return };
        if self.links.insert((from, to), Link::default()).is_none() {
            self.at(now + self.faults.delay, Action::Connect { from, to });
        }
    }

    pub(super) fn hang_up(&mut self, from: usize, to: &Address) {
        if let Some(to) = self.index(to) {
            self.links.remove(&(from, to));
        }
    }

    /// An attempt to connect. Returns whether the link came up by it.
    pub(super) fn connect(&mut self, now: Duration, from: usize, to: usize, there: bool) -> bool {
        let blocked = self.is_blocked(from, to);
        let Some(link) = self.links.get_mut(&(from, to)).filter(|link| !link.up) else { return false };
        if !there || blocked {
            self.at(now + REDIAL, Action::Connect { from, to });
            return false;
        }
        link.up = true;
        true
    }

    /// All connections of an instance break, and its own links are no more.
    pub(super) fn crashed(&mut self, now: Duration, index: usize) {
        self.links.retain(|(from, _), _| *from != index);
        let broken = self.links.iter().filter(|((_, to), link)| *to == index && link.up);
        let mut broken: Vec<_> = broken.map(|(ends, _)| *ends).collect();
        // The same order in every run.
        broken.sort_unstable();
        for (from, to) in broken {
            self.links.insert((from, to), Link::default());
            self.at(now + self.faults.delay, Action::Broken { from, to });
            self.at(now + REDIAL, Action::Connect { from, to });
        }
    }

    pub(super) fn send(
        &mut self,
        now: Duration,
        from: usize,
        to: &Address,
        message: (Sender, Bytes),
        random: &mut Random,
    ) {
        let Some(to) = self.index(to) else { return };
        let lost = self.is_blocked(from, to) || random.chance(self.faults.loss);
        let (takes, again) = (self.takes(random), random.chance(self.faults.repeat));
        if lost || self.links.get(&(from, to)).is_none_or(|link| !link.up) {
            return;
        }
        let passed = self.pass(now, from, to, message.1.len());
        let Some(link) = self.links.get_mut(&(from, to)) else { return };
        let at = (passed + takes).max(link.busy_until);
        link.busy_until = at;
        if again {
            self.at(at + takes, Action::Arrive { to, message: message.clone() });
        }
        self.at(at, Action::Arrive { to, message });
    }

    pub(super) fn request(
        &mut self,
        now: Duration,
        asker: (usize, Session),
        to: &Address,
        tag: u64,
        question: (Sender, Bytes),
        random: &mut Random,
    ) {
        let to = self.index(to).filter(|to| {
            let is_up = self.links.get(&(asker.0, *to)).is_some_and(|link| link.up);
            is_up && !self.is_lost(asker.0, *to, random)
        });
        let Some(to) = to else {
            return self.at(now + REQUEST_TIMEOUT, Action::Answer { to: asker, tag, answer: None });
        };
        let at = self.pass(now, asker.0, to, question.1.len()) + self.takes(random);
        self.at(at, Action::Ask { to, asker, tag, question });
    }

    pub(super) fn answer(
        &mut self,
        now: Duration,
        from: usize,
        to: (usize, Session),
        tag: u64,
        answer: Option<(Sender, Bytes)>,
        random: &mut Random,
    ) {
        if answer.is_none() || self.is_lost(from, to.0, random) {
            return self.at(now + REQUEST_TIMEOUT, Action::Answer { to, tag, answer: None });
        }
        let bytes = answer.as_ref().map_or(0, |(_, body)| body.len());
        let at = self.pass(now, from, to.0, bytes) + self.takes(random);
        self.at(at, Action::Answer { to, tag, answer });
    }

    /// The instance at an address; `None` for one that a broken message made up.
    fn index(&self, at: &Address) -> Option<usize> {
        let number = at.as_str().rsplit('/').next()?.parse().ok()?;
        (number < self.busy_until.len() && *at == address(number)).then_some(number)
    }

    fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked.contains(&(from, to))
    }

    fn is_lost(&self, from: usize, to: usize, random: &mut Random) -> bool {
        self.is_blocked(from, to) || random.chance(self.faults.unanswered)
    }

    /// When a message has passed the sender's and the receiver's interfaces, each of which carries one after another.
    fn pass(&mut self, now: Duration, from: usize, to: usize, bytes: usize) -> Duration {
        let Some(rate) = self.faults.rate else { return now };
        let takes = Duration::from_nanos((bytes as u64 + MESSAGE_OVERHEAD) * 1_000_000_000 / rate.max(1));
        let leaves = self.busy_until[from].0.max(now) + takes;
        self.busy_until[from].0 = leaves;
        let room = self.busy_until[to].1.max(now) + takes;
        self.busy_until[to].1 = room;
        leaves.max(room)
    }

    fn takes(&self, random: &mut Random) -> Duration {
        self.faults.delay + random.time(self.faults.jitter)
    }
}

// === impl Entry ===

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}
