//! Many nodes in one thread: a network with delay, loss, repetition, partitions, crashes and skewed clocks, all of it
//! decided by one seed, so that what fails once fails again.

mod network;
mod oracle;
mod random;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use self::{
    network::{Action, Network},
    oracle::Oracle,
};
pub use self::{
    network::{Faults, MESSAGE_OVERHEAD, Traffic},
    oracle::{Delivery, Violation},
    random::Random,
};
use crate::{
    Now,
    identity::{Address, NodeId, Session, TopicId},
    link::Bounds,
    node::{Effect, Node, Recipient, Sender, Settings},
    wire::{Event, Stamp},
};

/// Milliseconds since the Unix epoch at which a simulation begins.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// A question that is not answered fails after this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// A simulated cluster.
pub struct World {
    /// Decides everything that is not said.
    pub random: Random,
    /// What is sent.
    pub traffic: Traffic,
    now: Duration,
    network: Network,
    instances: Vec<Instance>,
    oracle: Oracle,
    settings: Settings,
    published: u64,
    /// An instance whose application takes no events.
    stalled: Option<usize>,
}

struct Instance {
    id: NodeId,
    node: Option<Node>,
    session: Session,
    /// How far its clock is ahead.
    skew_ms: u64,
    topics: BTreeMap<TopicId, Option<u64>>,
    wake_at: Option<Duration>,
}

/// Settings that suit a simulation: as they are by default, with smaller filters.
pub fn settings() -> Settings {
    Settings {
        name: String::new(),
        addresses: Vec::new(),
        heartbeat: Duration::from_secs(1),
        peer_timeout: Duration::from_secs(3),
        gossip: Duration::from_secs(30),
        forget_after: Duration::from_mins(1),
        link: Bounds {
            queue_events: 65_536,
            queue_bytes: 64 << 20,
            queue_control: 1024,
            batch_frames: 256,
            batch_delay: Duration::from_millis(1),
        },
        interest_capacity: 100_000,
        interest_fpr: 0.01,
        keepers: 0,
        members_max: 2048,
    }
}

/// What instance number `index` is called.
pub fn name(index: usize) -> String {
    format!("instance-{index}")
}

/// Where instance number `index` listens.
pub fn address(index: usize) -> Address {
    Address::new(&format!("inproc://{index}")).expect("an address like any other")
}

// === impl World ===

impl World {
    /// A cluster of `instances` that have not started.
    pub fn new(seed: u64, instances: usize, settings: Settings, faults: Faults) -> Self {
        let idle = |index| Instance {
            id: NodeId::of(&name(index)),
            node: None,
            session: Session::default(),
            skew_ms: 0,
            topics: BTreeMap::new(),
            wake_at: None,
        };
        Self {
            random: Random::new(seed),
            traffic: Traffic::new(instances),
            now: Duration::ZERO,
            network: Network::new(faults, instances),
            instances: (0..instances).map(idle).collect(),
            oracle: Oracle::default(),
            settings,
            published: 0,
            stalled: None,
        }
    }

    /// How many instances there are, started or not.
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// A running instance's node.
    pub fn node(&self, index: usize) -> Option<&Node> {
        self.instances[index].node.as_ref()
    }

    /// Changes what the network does to messages from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.network.faults = faults;
    }

    /// The settings of instances that are started from now on.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Starts an instance whose discovery names `seeds`. Its clock is `skew_ms` ahead.
    pub fn start(&mut self, index: usize, seeds: &[usize], skew_ms: u64) {
        let incarnation = self.unix_ms(index) + skew_ms;
        let session = Session { incarnation, salt: self.random.number() };
        let addresses = vec![address(index)];
        let settings = Settings { name: name(index), addresses, ..self.settings.clone() };
        let node = Some(Node::new(settings, session));
        let id = self.instances[index].id;
        self.instances[index] =
            Instance { id, node, session, skew_ms, topics: BTreeMap::new(), wake_at: None };
        self.oracle.started(index);
        let addresses: Vec<_> = seeds.iter().map(|seed| address(*seed)).collect();
        self.with(index, |node, now| node.discovered(now, &addresses));
    }

    /// Ends an instance without a word.
    pub fn crash(&mut self, index: usize) {
        self.instances[index].node = None;
        self.network.crashed(self.now, index);
    }

    /// Whether messages from one instance to another get through.
    pub fn set_reachable(&mut self, from: usize, to: usize, reachable: bool) {
        self.network.set_reachable(from, to, reachable);
    }

    /// A topic has subscribers at an instance, or no more.
    pub fn subscribe(&mut self, index: usize, topic: TopicId) {
        if self.instances[index].node.is_none() || self.instances[index].topics.contains_key(&topic) {
            return;
        }
        let version = self.with(index, |node, _| node.subscribe(topic));
        self.instances[index].topics.insert(topic, Some(version.flatten().unwrap_or(0)));
    }

    /// Many topics have subscribers at an instance, from one moment on.
    pub fn subscribe_all(&mut self, index: usize, topics: impl IntoIterator<Item = TopicId>) {
        let mut known = std::mem::take(&mut self.instances[index].topics);
        self.with(index, |node, _| {
            for topic in topics {
                known.entry(topic).or_insert_with(|| Some(node.subscribe(topic).unwrap_or(0)));
            }
        });
        self.instances[index].topics = known;
    }

    /// See [`subscribe`](Self::subscribe).
    pub fn unsubscribe(&mut self, index: usize, topic: TopicId) {
        if self.instances[index].topics.remove(&topic).is_some() {
            self.with(index, |node, _| node.unsubscribe(topic));
        }
    }

    /// Publishes at an instance. Everybody who waits for the topic there, and whose wait has been told to everybody, has
    /// to get it.
    pub fn publish(&mut self, index: usize, topic: TopicId) {
        if self.instances[index].node.is_none() {
            return;
        }
        self.published += 1;
        let stamp = Stamp { clock: self.published, origin: u32::try_from(index).unwrap_or(0) };
        let event = Event { topic, stamp, trace: None, name: None, block: b"data: x\n\n" };
        let waiting: Vec<_> = (0..self.len()).filter(|other| self.waits(*other, index, topic)).collect();
        self.oracle.published(self.now, stamp, index, waiting);
        let queued = self.with(index, |node, _| node.publish(&event)).map_or(0, |published| published.queued);
        self.traffic.forwards += queued as u64;
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, action)) = self.network.next(end) {
            self.now = at;
            self.act(action);
        }
        self.now = end;
    }

    /// What became of the events that were published, judged now.
    pub fn deliveries(&self) -> Vec<Violation> {
        self.oracle.violations()
    }

    /// Events that came where nobody waited for them.
    pub fn wasted(&self) -> u64 {
        self.oracle.wasted()
    }

    /// Pairs of running instances of which one does not know the other as it is.
    pub fn unconverged(&self) -> Vec<(usize, usize)> {
        let running: Vec<_> = (0..self.len()).filter(|index| self.instances[*index].node.is_some()).collect();
        let pairs = running.iter().flat_map(|a| running.iter().map(move |b| (*a, *b)));
        pairs.filter(|(a, b)| a != b && !self.knows(*a, *b)).collect()
    }

    /// Whether instance `a` has the interest of instance `b` as it is.
    pub fn knows(&self, a: usize, b: usize) -> bool {
        let (Some(a), Some(b)) = (self.node(a), self.node(b)) else { return false };
        let own = b.interest();
        a.interest_of(b.id()).and_then(crate::interest::Theirs::filter).is_some_and(|filter| {
            filter.class() == own.filter().class() && filter.tree().root() == own.filter().tree().root()
        })
    }

    /// Whether a delivery to `other` is owed when `index` publishes: it waits for the topic and every live peer of
    /// its own has acknowledged that.
    fn waits(&self, other: usize, index: usize, topic: TopicId) -> bool {
        let instance = &self.instances[other];
        let told = |node: &Node| {
            let version = instance.topics.get(&topic).copied().flatten();
            version.is_some_and(|version| node.effective() >= version)
                && self.node(index).is_some_and(|from| node.is_live(from.id()) && from.is_live(node.id()))
        };
        other != index && instance.node.as_ref().is_some_and(told)
    }

    fn unix_ms(&self, index: usize) -> u64 {
        let elapsed = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX);
        EPOCH_MS + elapsed + self.instances[index].skew_ms
    }

    /// Does something with a node, and then what comes out.
    fn with<T>(&mut self, index: usize, act: impl FnOnce(&mut Node, Now) -> T) -> Option<T> {
        let now = Now { elapsed: self.now, unix_ms: self.unix_ms(index) };
        let node = self.instances[index].node.as_mut()?;
        let result = act(node, now);
        self.settle(index, now);
        Some(result)
    }

    fn settle(&mut self, index: usize, now: Now) {
        loop {
            let Some(node) = self.instances[index].node.as_mut() else { return };
            node.flush(now);
            let effects: Vec<_> = node.effects().collect();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.perform(index, now, effect);
            }
        }
        let Some(node) = self.instances[index].node.as_ref() else { return };
        let wake = node.next_wake().max(self.now + Duration::from_micros(1));
        let instance = &mut self.instances[index];
        if instance.wake_at.is_none_or(|at| wake < at || at <= self.now) {
            instance.wake_at = Some(wake);
            self.network.at(wake, Action::Wake(index, instance.session));
        }
    }

    fn perform(&mut self, index: usize, now: Now, effect: Effect) {
        let Instance { id, session, .. } = self.instances[index];
        let sender = |recipient: Recipient| Sender { id, session, answers: recipient.answers };
        match effect {
            Effect::Dial(to) => self.network.dial(self.now, index, &to),
            Effect::HangUp(to) => self.network.hang_up(index, &to),
            Effect::Send { to, recipient, body } => {
                self.traffic.sent(index, body.len());
                let message = (sender(recipient), body.to_bytes());
                self.network.send(self.now, index, &to, message, &mut self.random);
            }
            Effect::Request { to, tag, recipient, body } => {
                self.traffic.sent(index, body.len());
                let asked = (sender(recipient), Bytes::from(body));
                self.network.request(self.now, (index, session), &to, tag, asked, &mut self.random);
            }
            Effect::Deliver { .. } if self.stalled == Some(index) => {}
            Effect::Deliver { from, session, mark, events } => {
                for event in events.iter() {
                    let waits = self.instances[index].topics.contains_key(&event.topic);
                    self.oracle.arrived(event.stamp, index, waits);
                }
                if let Some(node) = self.instances[index].node.as_mut() {
                    node.delivered(now, from, session, mark);
                }
            }
            Effect::Lost { count, .. } => self.traffic.lost += count,
            Effect::Refused { .. } => self.traffic.refused += 1,
            Effect::PeerDown { .. } => self.oracle.parted(self.now, index),
            Effect::PeerUp { .. }
            | Effect::Facts(_)
            | Effect::Asked { .. }
            | Effect::Answered { .. }
            | Effect::NameClash => {}
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Wake(index, session) => {
                if self.instances[index].session == session {
                    self.instances[index].wake_at = None;
                    self.with(index, |_, _| ());
                }
            }
            Action::Arrive { to, message: (sender, body) } => {
                self.with(to, |node, now| node.message(now, sender, &body));
            }
            Action::Connect { from, to } => {
                let there = self.instances[to].node.is_some();
                if self.network.connect(self.now, from, to, there) {
                    self.with(from, |node, now| node.link_up(now, &address(to)));
                }
            }
            Action::Broken { from, to } => {
                self.with(from, |node, now| node.link_down(now, &address(to)));
            }
            Action::Ask { to, asker, tag, question: (sender, body) } => {
                self.answer(to, asker, tag, (sender, &body));
            }
            Action::Answer { to: (to, session), tag, answer } => {
                if self.instances[to].session == session {
                    let answer = answer.as_ref().map(|(sender, body)| (*sender, body));
                    self.with(to, |node, now| node.reply(now, tag, answer));
                }
            }
        }
    }

    fn answer(&mut self, to: usize, asker: (usize, Session), tag: u64, question: (Sender, &Bytes)) {
        let (sender, body) = question;
        let answer = self.with(to, |node, now| node.request(now, sender, tag, body)).flatten();
        let Instance { id, session, .. } = self.instances[to];
        let answer = answer.map(|(recipient, body)| {
            self.traffic.sent(to, body.len());
            (Sender { id, session, answers: recipient.answers }, Bytes::from(body))
        });
        self.network.answer(self.now, to, asker, tag, answer, &mut self.random);
    }
}

#[cfg(test)]
mod tests;
