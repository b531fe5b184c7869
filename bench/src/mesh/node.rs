//! The mesh, driven as the proxy drives it: the node decides, NNG carries, the envelope seals.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use revenprox_mesh::Now;
use revenprox_mesh::alarm::Alarm;
use revenprox_mesh::identity::{Address, NodeId, Session, TopicId};
use revenprox_mesh::link::Bounds;
use revenprox_mesh::node::{self, Effect, Node};
use revenprox_mesh::seal::{Channel, HEAD_BYTES, Keyring, Opener, Sealer};
use revenprox_mesh::transport::{self, Event, Message, Transport};
use revenprox_mesh::wire::{Event as MeshEvent, Events, Stamp};
use tokio::runtime::Runtime;
use tokio::select;
use tokio::sync::mpsc;

use super::tally::Stamped;
use super::{PeerArgs, Sender, Way};
use crate::error::{BenchError, Result, failed};

const TOPIC: TopicId = TopicId(7);

/// For this measurement only.
const KEY: &str = "a key that is not a secret, of thirty-two bytes";

/// Events that may wait in the node before the sender waits.
const QUEUE: usize = 8 * 1024;

/// How long the two may take to become peers.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sending end.
pub(super) struct Out {
    runtime: Runtime,
    instance: Instance,
    clock: u64,
}

/// One instance.
struct Instance {
    node: Node,
    transport: Transport,
    events: mpsc::Receiver<Event>,
    sealer: Sealer,
    opener: Opener,
    started: Instant,
    timer: Alarm,
    tickets: u64,
}

// === impl Out ===

impl Out {
    pub(super) fn connect(way: Way, port: u16, back: u16, batch: usize) -> Result<Self> {
        let runtime = runtime()?;
        let mut instance = runtime.block_on(async { Instance::start("sender", way, back, port, batch) })?;
        runtime.block_on(instance.until(|node| node.live() == 1))?;
        // A greeting that tells the receiver's interest.
        runtime.block_on(instance.until(|node| node.peers(Now::default()).iter().any(|p| p.topics == 1)))?;
        Ok(Self { runtime, instance, clock: 0 })
    }
}

impl Sender for Out {
    fn send(&mut self, events: &[Stamped]) -> Result<()> {
        for event in events {
            self.clock += 1;
            let stamp = Stamp { clock: self.clock, origin: 1 };
            let event = MeshEvent { topic: TOPIC, stamp, trace: None, name: None, block: &event.0 };
            if self.instance.node.publish(&event).queued != 1 {
                return Err(failed("the receiver is no peer any more"));
            }
        }
        self.instance.turn(&mut |_| false);
        while let Ok(event) = self.instance.events.try_recv() {
            self.instance.take(event);
        }
        self.runtime.block_on(self.instance.until(|node| queued(node) < QUEUE))
    }

    /// The node makes the messages.
    fn send_all(&mut self, events: &[Stamped], _: usize) -> Result<()> {
        self.send(events)
    }

    fn finish(&mut self) -> Result<()> {
        self.runtime.block_on(self.instance.until(|node| queued(node) == 0 && in_flight(node) == 0))
    }

    fn wait_until(&mut self, at: Instant) -> Result<()> {
        self.runtime.block_on(self.instance.run_until(at, &mut |_| false));
        Ok(())
    }
}

/// Receives messages until `take` says that it was the last.
pub(super) fn receive(
    args: &PeerArgs,
    ready: impl FnOnce() -> Result<()>,
    mut take: impl FnMut(&Events) -> bool,
) -> Result<()> {
    let runtime = runtime()?;
    let mut instance =
        runtime.block_on(async { Instance::start("receiver", args.way, args.port, args.back, 1) })?;
    instance.node.subscribe(TOPIC);
    ready()?;
    let mut done = false;
    while !done {
        let soon = Instant::now() + Duration::from_millis(100);
        runtime.block_on(instance.run_until(soon, &mut |events| {
            done |= take(events);
            done
        }));
    }
    // The sender waits for the last acknowledgement.
    runtime.block_on(instance.run_until(Instant::now() + Duration::from_millis(100), &mut |_| false));
    Ok(())
}

// === impl Instance ===

impl Instance {
    fn start(name: &str, way: Way, port: u16, other: u16, batch: usize) -> Result<Self> {
        let keyring = match way {
            Way::Sealed => Keyring::new(KEY, None).map_err(|error| failed(error.to_string()))?,
            _ => Keyring::open(),
        };
        let address =
            |port: u16| Address::of([127, 0, 0, 1].into(), port).ok_or_else(|| failed("no such port"));
        let (own, other) = (address(port)?, address(other)?);
        let sockets = transport::Settings {
            inbox: 8192,
            reconnect_max: Duration::from_secs(2),
            request_timeout: Duration::from_secs(2),
        };
        let (transport, events) = Transport::start(std::slice::from_ref(&own), sockets)
            .map_err(|error| failed(error.to_string()))?;
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let session =
            Session { incarnation: u64::try_from(unix.as_millis()).unwrap_or(0), salt: port.into() };
        let mut node = Node::new(settings(name, own, batch), session);
        node.discovered(Now::default(), &[other]);
        let (sealer, opener) =
            (Sealer::new(keyring.clone(), node.id(), session), Opener::new(keyring, NodeId::of(name)));
        let started = Instant::now();
        let timer = Alarm::new(started);
        Ok(Self { node, transport, events, sealer, opener, started, timer, tickets: 0 })
    }

    fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), unix_ms: 0 }
    }

    /// Runs until this is so, but not for ever.
    async fn until(&mut self, mut is_so: impl FnMut(&Node) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.node) {
            if Instant::now() > deadline {
                return Err(failed("the two instances of the mesh do not get on"));
            }
            self.step(deadline, &mut |_| false).await;
        }
        Ok(())
    }

    /// Runs until then, or until `take` says that it was the last.
    async fn run_until(&mut self, at: Instant, take: &mut impl FnMut(&Events) -> bool) {
        while Instant::now() < at {
            if self.step(at, take).await {
                return;
            }
        }
    }

    /// Waits for what comes next and does it.
    async fn step(&mut self, at: Instant, take: &mut impl FnMut(&Events) -> bool) -> bool {
        let wake = (self.started + self.node.next_wake()).min(at);
        if wake > Instant::now() {
            self.timer.at_latest(wake);
            select! {
                biased;
                event = self.events.recv() => event.into_iter().for_each(|event| self.take(event)),
                () = self.timer.fires() => {}
            }
        }
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
        self.turn(take)
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Message(mut message) => {
                if let Some((sender, body)) = self.open(Channel::Link, message.as_mut()) {
                    self.node.message(now, sender, &message.into_bytes(body));
                }
            }
            Event::Request { mut message, ticket } => {
                let Some((sender, body)) = self.open(Channel::Request, &mut message) else { return };
                self.tickets += 1;
                let body = Bytes::from(message).slice(body);
                if let Some((to, body)) = self.node.request(now, sender, self.tickets, &body) {
                    ticket.reply(&self.sealer.seal(Channel::Reply, to.id, to.answers, &body));
                }
            }
            Event::Reply { tag, answer } => {
                let opened = answer.ok().and_then(|mut message| {
                    let (sender, body) = self.open(Channel::Reply, &mut message)?;
                    Some((sender, Bytes::from(message).slice(body)))
                });
                let answer = opened.as_ref().map(|(sender, body)| (*sender, body));
                self.node.reply(now, tag, answer);
            }
            Event::Up(address) => self.node.link_up(now, &address),
            Event::Down(address) => self.node.link_down(now, &address),
        }
    }

    fn open(&mut self, channel: Channel, message: &mut [u8]) -> Option<(node::Sender, Range<usize>)> {
        let (head, body) = self.opener.open(channel, message).ok()?;
        Some((node::Sender { id: head.sender, session: head.session, answers: head.answers }, body))
    }

    /// Does what is due. Returns whether `take` has taken the last.
    fn turn(&mut self, take: &mut impl FnMut(&Events) -> bool) -> bool {
        let mut is_last = false;
        loop {
            self.node.flush(self.now());
            let effects: Vec<_> = self.node.effects().collect();
            if effects.is_empty() {
                return is_last;
            }
            for effect in effects {
                is_last |= self.perform(effect, take);
            }
        }
    }

    fn perform(&mut self, effect: Effect, take: &mut impl FnMut(&Events) -> bool) -> bool {
        match effect {
            // A link that cannot be made shows in that the two do not become peers.
            Effect::Dial(to) => drop(self.transport.dial(&to)),
            Effect::HangUp(to) => self.transport.hang_up(&to),
            Effect::Send { to, recipient, body } => {
                let mut message = Message::with_room(HEAD_BYTES, &body.parts(), self.sealer.tail_bytes());
                self.sealer.seal_in_place(Channel::Link, recipient.id, recipient.answers, message.as_mut());
                self.transport.send(&to, message);
            }
            Effect::Request { to, tag, recipient, body } => {
                let sealed = self.sealer.seal(Channel::Request, recipient.id, recipient.answers, &body);
                self.transport.request(&to, tag, &sealed);
            }
            Effect::Deliver { from, session, mark, events } => {
                let is_last = take(&events);
                self.node.delivered(self.now(), from, session, mark);
                return is_last;
            }
            _ => {}
        }
        false
    }
}

/// As the proxy's are by default, but for the events of a message.
fn settings(name: &str, own: Address, batch: usize) -> node::Settings {
    node::Settings {
        name: name.into(),
        addresses: vec![own],
        heartbeat: Duration::from_secs(1),
        peer_timeout: Duration::from_secs(3),
        gossip: Duration::from_secs(30),
        forget_after: Duration::from_mins(1),
        link: Bounds {
            queue_events: 65_536,
            queue_bytes: 64 << 20,
            queue_control: 1024,
            batch_frames: batch.max(1),
            batch_delay: Duration::from_millis(1),
        },
        interest_capacity: 1_000_000,
        interest_fpr: 0.01,
        keepers: 0,
        members_max: 16,
    }
}

fn queued(node: &Node) -> usize {
    node.peers(Now::default()).iter().map(|peer| peer.queue).sum()
}

fn in_flight(node: &Node) -> usize {
    node.peers(Now::default()).iter().map(|peer| peer.in_flight).sum()
}

fn runtime() -> Result<Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    built
        .map_err(|error: std::io::Error| BenchError::Io { doing: "starting a runtime".into(), source: error })
}
