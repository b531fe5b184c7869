//! The task between the state machine, NNG and the hub.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant as StdInstant},
};

use bytes::Bytes;
use hashbrown::HashMap;
use revenprox_mesh::{
    alarm::Alarm,
    node::{Down, Effect, Recipient, Sender},
    seal::{Channel, HEAD_BYTES, Head, Opener},
    transport::{Event, Message, Ticket},
};
use tokio::{select, sync::mpsc, time::Instant};

use super::{
    Mesh, convert, questions,
    taking::{Batch, Waiting},
};
use crate::{hub::Hub, revocation::Claim};

/// How many events of the transport are handled between two looks at the state machine.
const EVENTS_AT_ONCE: usize = 256;

/// A warning about the same thing is not repeated within this time.
const QUIET: Duration = Duration::from_secs(10);

/// While events wait for delivery, it is looked this often whether there is room, beside being told.
const RETRY: Duration = Duration::from_millis(20);

/// What the driver has counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    held: AtomicU64,
    unopened: AtomicU64,
}

/// See the module.
pub struct Driver {
    mesh: Arc<Mesh>,
    events: mpsc::Receiver<Event>,
    opener: Opener,
    tickets: HashMap<u64, Ticket>,
    next_ticket: u64,
    waiting: Waiting,
    warned: HashMap<&'static str, Instant>,
}

// === impl Counts ===

impl Counts {
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn unopened(&self) -> u64 {
        self.unopened.load(Ordering::Relaxed)
    }
}

// === impl Driver ===

impl Driver {
    pub(super) fn new(mesh: Arc<Mesh>, events: mpsc::Receiver<Event>, opener: Opener) -> Self {
        Self {
            mesh,
            events,
            opener,
            tickets: HashMap::new(),
            next_ticket: 0,
            waiting: Waiting::default(),
            warned: HashMap::new(),
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self, hub: Arc<Hub>, revoke: impl Fn(Claim, u64)) {
        let mesh = Arc::clone(&self.mesh);
        let mut discovery = mesh.discovery.addresses();
        discovery.mark_changed();
        let mut alarm = Alarm::new(Instant::now().into_std());
        loop {
            alarm.at_latest(self.turn(&hub, &revoke));
            let mut room = std::pin::pin!(hub.room());
            let waits = !self.waiting.is_empty();
            if waits {
                // Registered before trying again, so that no room is missed.
                room.as_mut().enable();
                self.retry(&hub);
            }
            // Each turn looks after everything, so the order only decides which turn is first.
            select! {
                biased;
                event = self.events.recv() => match event {
                    Some(event) => self.take_events(event),
                    None => return,
                },
                () = mesh.wake.notified() => {}
                () = alarm.fires() => {}
                () = &mut room, if waits => {}
                () = tokio::time::sleep(RETRY), if waits => {}
                // It lasts as long as the mesh, so this does not fail.
                Ok(()) = discovery.changed() => {
                    let addresses = discovery.borrow_and_update().clone();
                    mesh.node.lock().discovered(mesh.now(), &addresses);
                }
            }
        }
    }

    /// Lets the state machine decide and does what comes out, until nothing does. Returns when to look again.
    fn turn(&mut self, hub: &Hub, revoke: &impl Fn(Claim, u64)) -> StdInstant {
        let mesh = Arc::clone(&self.mesh);
        loop {
            let (effects, wake, effective, unmet) = {
                let mut node = mesh.node.lock();
                node.flush(mesh.now());
                let effects: Vec<_> = node.effects().collect();
                let looks = effects.is_empty() && !mesh.settling.is_done();
                (effects, node.next_wake(), node.effective(), looks.then(|| node.unmet()))
            };
            mesh.effective.send_if_modified(|known| std::mem::replace(known, effective) != effective);
            if effects.is_empty() {
                self.mesh.counts.held.store(self.waiting.len() as u64, Ordering::Relaxed);
                if let Some(unmet) = unmet {
                    mesh.settling.met(mesh.discovery.has_answered().then_some(unmet));
                }
                return mesh.started.checked_add(wake).unwrap_or_else(|| Instant::now() + QUIET).into_std();
            }
            for effect in effects {
                self.perform(hub, revoke, effect);
            }
        }
    }

    fn take_events(&mut self, first: Event) {
        self.take_event(first);
        for _ in 1..EVENTS_AT_ONCE {
            match self.events.try_recv() {
                Ok(event) => self.take_event(event),
                Err(_) => return,
            }
        }
    }

    fn take_event(&mut self, event: Event) {
        let mesh = Arc::clone(&self.mesh);
        let now = mesh.now();
        match event {
            Event::Message(mut message) => {
                if let Some((sender, body)) = self.open(Channel::Link, message.as_mut()) {
                    mesh.node.lock().message(now, sender, &message.into_bytes(body));
                }
            }
            Event::Request { mut message, ticket } => {
                let Some((sender, body)) = self.open(Channel::Request, &mut message) else { return };
                let number = self.next_ticket;
                self.next_ticket += 1;
                self.tickets.insert(number, ticket);
                let body = Bytes::from(message).slice(body);
                let answer = mesh.node.lock().request(now, sender, number, &body);
                if let Some((recipient, body)) = answer {
                    self.reply(number, recipient, &body);
                }
            }
            Event::Reply { tag, answer } => {
                let opened = answer.ok().and_then(|mut message| {
                    let (sender, body) = self.open(Channel::Reply, &mut message)?;
                    Some((sender, Bytes::from(message).slice(body)))
                });
                let answer = opened.as_ref().map(|(sender, body)| (*sender, body));
                mesh.node.lock().reply(now, tag, answer);
            }
            Event::Up(address) => mesh.node.lock().link_up(now, &address),
            Event::Down(address) => mesh.node.lock().link_down(now, &address),
        }
    }

    fn perform(&mut self, hub: &Hub, revoke: &impl Fn(Claim, u64), effect: Effect) {
        let mesh = Arc::clone(&self.mesh);
        match effect {
            Effect::Dial(to) => {
                if let Err(error) = mesh.sockets.dial(&to) {
                    tracing::error!(%error, "an instance cannot be dialled");
                }
            }
            Effect::HangUp(to) => mesh.sockets.hang_up(&to),
            Effect::Send { to, recipient, body } => {
                let mut sealer = mesh.sealer.lock();
                let mut message = Message::with_room(HEAD_BYTES, &body.parts(), sealer.tail_bytes());
                sealer.seal_in_place(Channel::Link, recipient.id, recipient.answers, message.as_mut());
                drop(sealer);
                mesh.sockets.send(&to, message);
            }
            Effect::Request { to, tag, recipient, body } => {
                mesh.sockets.request(&to, tag, &self.seal(Channel::Request, recipient, &body));
            }
            Effect::Deliver { from, session, mark, events } => {
                let batch = Batch { from, session, mark, events };
                if let Some(taken) = self.waiting.add(batch, hub) {
                    mesh.node.lock().delivered(mesh.now(), taken.from, taken.session, taken.mark);
                }
            }
            Effect::Facts(facts) => {
                for fact in facts {
                    if let Some(claim) = convert::to_claim(&fact) {
                        revoke(claim, fact.until_ms());
                    }
                }
            }
            Effect::Asked { ticket, from, body } => {
                let answer = questions::answer(&mesh, hub, from, &body).map(Bytes::from);
                let (recipient, body) = mesh.node.lock().answer(mesh.now(), from, answer);
                self.reply(ticket, recipient, &body);
            }
            Effect::Answered { tag, answer, .. } => mesh.questions.resolve(tag, answer),
            other => {
                match other {
                    Effect::PeerUp { id, is_new, .. } => mesh.peer_came(id, is_new),
                    Effect::PeerDown { id, why, .. } => mesh.peer_went(id, why == Down::Left),
                    _ => {}
                }
                self.report(&other);
            }
        }
    }

    fn report(&mut self, effect: &Effect) {
        match effect {
            Effect::PeerUp { name, .. } => tracing::info!(peer = name, "a peer is there"),
            Effect::PeerDown { name, why, .. } => tracing::info!(peer = name, ?why, "a peer is gone"),
            Effect::Lost { from, count, why } if self.may_warn("lost") => {
                tracing::warn!(peer = %from, count, ?why, "events of a peer were lost");
            }
            Effect::NameClash if self.may_warn("name") => {
                tracing::error!("another instance has the same proxy_id; give each its own");
            }
            Effect::Refused { from, why } if self.may_warn("refused") => {
                tracing::warn!(peer = %from, %why, "a message of a peer was refused");
            }
            _ => {}
        }
    }

    fn retry(&mut self, hub: &Hub) {
        for taken in self.waiting.retry(hub) {
            self.mesh.node.lock().delivered(self.mesh.now(), taken.from, taken.session, taken.mark);
        }
    }

    /// Opens a message in place. Returns where its body is.
    fn open(&mut self, channel: Channel, message: &mut [u8]) -> Option<(Sender, Range<usize>)> {
        match self.opener.open(channel, message) {
            Ok((Head { sender, session, answers, .. }, body)) => {
                Some((Sender { id: sender, session, answers }, body))
            }
            Err(why) => {
                self.mesh.counts.unopened.fetch_add(1, Ordering::Relaxed);
                if self.may_warn("unopened") {
                    tracing::warn!(%why, "a message at the mesh's port was refused");
                }
                None
            }
        }
    }

    fn seal(&self, channel: Channel, recipient: Recipient, body: &[u8]) -> Vec<u8> {
        self.mesh.sealer.lock().seal(channel, recipient.id, recipient.answers, body)
    }

    fn reply(&mut self, ticket: u64, recipient: Recipient, body: &[u8]) {
        if let Some(ticket) = self.tickets.remove(&ticket) {
            ticket.reply(&self.seal(Channel::Reply, recipient, body));
        }
    }

    fn may_warn(&mut self, about: &'static str) -> bool {
        let now = Instant::now();
        let may = self.warned.get(about).is_none_or(|at| now.duration_since(*at) >= QUIET);
        if may {
            self.warned.insert(about, now);
        }
        may
    }
}
