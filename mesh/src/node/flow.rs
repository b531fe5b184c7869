//! Batches, acknowledgements and beats between peers.

use bytes::Bytes;

use super::{
    Down, Effect, Loss, Node, Recipient, Refusal, Sender,
    peer::{PATIENCE, Peer},
};
use crate::{
    Now,
    identity::{NodeId, Session},
    interest::{Probe, Summary},
    link::{Pushed, Received},
    wire::{Beat, Event, Frame, Frames, Mark, Message, frames},
};

/// Where an event went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// For how many peers it waits now.
    pub queued: usize,
    /// Whether [`Node::next_wake`] has changed by it: others after it go along with it.
    pub decides: bool,
}

/// How an epoch of a peer's link fits to those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Followed {
    /// It is an earlier one.
    Not,
    /// It is the present one, or the first of this run.
    On,
    /// The peer had given this instance up, and begins anew.
    Anew,
}

// === impl Node ===

impl Node {
    /// A message arrived on a link, opened.
    pub fn message(&mut self, now: Now, sender: Sender, body: &Bytes) {
        let message = match Message::decode(body) {
            Ok(message) => message,
            Err(error) => return self.refuse(sender.id, error.into()),
        };
        let message = match message {
            Message::Hello(hello) => return self.hello(now, sender, hello),
            message => message,
        };
        let is_now = |peer: &&mut Peer| peer.session == sender.session && !peer.left;
        let Some(peer) = self.peers.get_mut(&sender.id).filter(is_now) else {
            // Its hello is still to come, or it belongs to a run that is over.
            self.counters.strangers += 1;
            return;
        };
        peer.bytes_in += body.len() as u64;
        if sender.answers != self.session {
            // It does not hear this instance, so what it says may have been said to an earlier run.
            peer.met = now.elapsed;
            peer.hello_at = peer.hello_at.min(now.elapsed);
            return self.schedule(sender.id);
        }
        self.heard(now, sender);
        match message {
            Message::Batch { ack, mark, frames } => {
                self.acknowledged(sender.id, ack);
                self.batch(now, sender.id, mark, frames);
            }
            Message::Beat(beat) => self.beat(now, sender.id, &beat),
            Message::Leave => self.left(now, sender.id),
            Message::Hello(_) => {}
        }
        self.schedule(sender.id);
    }

    /// The application has taken the events of a batch.
    pub fn delivered(&mut self, now: Now, from: NodeId, session: Session, mark: Mark) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.session == session && peer.in_epoch == mark.epoch {
            peer.incoming.take(now.elapsed, mark.number);
            self.schedule(from);
        }
    }

    /// Takes a batch in, from the link or from a repair.
    pub(super) fn batch(&mut self, now: Now, id: NodeId, mark: Mark, frames: Bytes) {
        let window = self.window();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let followed = peer.follow(mark.epoch);
        self.note_break(now, id, followed);
        let Some(peer) = self.peers.get_mut(&id).filter(|_| followed != Followed::Not && mark.number > 0)
        else {
            return;
        };
        match peer.incoming.receive(now.elapsed, mark.number, frames, window) {
            Received::Ready | Received::Early => {}
            Received::Again => self.counters.batches_again += 1,
            Received::TooEarly => self.counters.batches_early += 1,
        }
        self.hand_out(now, id);
    }

    /// Notes that a peer had given this instance up for a while, and began a new link to it.
    fn note_break(&mut self, now: Now, id: NodeId, followed: Followed) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if followed == Followed::Anew && peer.live {
            let name = peer.name.clone();
            let since_ms = now.unix_ms + self.ahead_ms();
            self.rosters.passed_by(since_ms);
            self.effects.push(Effect::PeerUp { id, name, is_new: false });
        }
    }

    /// Handles all batches that are next in order.
    pub(super) fn hand_out(&mut self, now: Now, id: NodeId) {
        let mut progress = false;
        while let Some(peer) = self.peers.get_mut(&id) {
            let Some((number, batch)) = peer.incoming.pop() else {
                peer.incoming.settle(now.elapsed, progress);
                break;
            };
            progress = true;
            let mark = Mark { epoch: peer.in_epoch, number };
            match frames(&batch) {
                Ok(frames) => self.take_frames(now, id, mark, frames),
                Err(error) => {
                    self.refuse(id, error.into());
                    self.take_frames(now, id, mark, Frames::default());
                }
            }
        }
    }

    /// Looks after a peer whose time has come.
    pub(super) fn look_after(&mut self, now: Now, id: NodeId) {
        let up = self.is_up(id);
        let Some(peer) = self.peers.get(&id) else { return };
        if peer.live && !peer.is_heard(now, &self.settings) {
            self.part(now, id, Down::Silent);
        }
        let Some(peer) = self.peers.get(&id).filter(|_| up) else { return self.schedule(id) };
        if !peer.live {
            if peer.hello_at <= now.elapsed {
                self.greet(now, id);
            }
            return self.schedule(id);
        }
        self.mend(now, id);
        self.send_batches(now, id);
        self.send_due_ack(now, id);
        self.send_due_beat(now, id);
        self.schedule(id);
    }

    /// Sends again what is on its way, since the connection was made anew.
    pub(super) fn resend(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.live) else { return };
        let (epoch, ack) = (peer.epoch, peer.ack());
        for (number, frames) in peer.out.range(0, u64::MAX, usize::MAX) {
            self.counters.batches_resent += 1;
            self.send(now, id, Message::Batch { ack, mark: Mark { epoch, number }, frames });
        }
    }

    /// Sends a message on a peer's link.
    pub(super) fn send(&mut self, now: Now, id: NodeId, message: Message) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(to) = peer.at.clone() else { return };
        let recipient = Recipient { id, answers: peer.answers(now, &self.settings) };
        let body = message.into_body();
        peer.bytes_out += body.len() as u64;
        self.effects.push(Effect::Send { to, recipient, body });
    }

    pub(super) fn refuse(&mut self, from: NodeId, why: Refusal) {
        self.counters.refused += 1;
        self.effects.push(Effect::Refused { from, why });
    }

    /// Whether the link to a peer is up.
    pub(super) fn is_up(&self, id: NodeId) -> bool {
        let at = self.peers.get(&id).and_then(|peer| peer.at.as_ref());
        at.and_then(|at| self.targets.get(at)).is_some_and(|target| target.up)
    }

    fn take_frames(&mut self, now: Now, id: NodeId, mark: Mark, frames: Frames) {
        let Frames { control, events } = frames;
        for frame in control {
            self.take_control(now, id, frame);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (taken, _) = peer.incoming.progress();
        if events.is_empty() && taken + 1 == mark.number {
            peer.incoming.take(now.elapsed, mark.number);
            // Somebody may wait for a change of the interest to be known here.
            peer.incoming.hurry();
        } else {
            peer.events_in += events.len() as u64;
            let session = peer.session;
            self.effects.push(Effect::Deliver { from: id, session, mark, events });
        }
    }

    fn take_control(&mut self, now: Now, id: NodeId, frame: Frame) {
        match frame {
            Frame::Interest(delta) => self.take_interest(id, &delta),
            Frame::Facts(bytes) => self.take_facts(now, id, &bytes),
            Frame::Dropped(count) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.lost_events += count;
                }
                self.counters.events_lost += count;
                self.effects.push(Effect::Lost { from: id, count, why: Loss::Overflow });
            }
        }
    }

    fn acknowledged(&mut self, id: NodeId, ack: Mark) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.epoch == ack.epoch) else { return };
        let (version, _) = peer.out.acknowledged(ack.number);
        peer.knows = peer.knows.max(version).max(peer.knows_from);
    }

    fn beat(&mut self, now: Now, id: NodeId, beat: &Beat) {
        self.acknowledged(id, beat.ack);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.note_clock(now, beat.clock_ms);
        let followed = peer.follow(beat.last.epoch);
        if followed != Followed::Not {
            peer.incoming.announced(beat.last.number);
            peer.incoming.settle(now.elapsed, false);
        }
        self.note_break(now, id, followed);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match Summary::decode(&beat.summary) {
            Ok(summary) if !peer.interest.refuses(&summary) => peer.summary = Some(summary),
            Ok(summary) => {
                peer.interest.compare(&summary);
                self.refuse(id, Refusal::FilterTooLarge);
            }
            Err(_) => return self.refuse(id, Refusal::State),
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.facts_differ = beat.facts != self.facts.root(now.unix_ms);
        self.compare(now, id);
        self.compare_members(now, id, beat.members);
    }

    fn left(&mut self, now: Now, id: NodeId) {
        self.part(now, id, Down::Left);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.left = true;
        }
    }

    fn send_batches(&mut self, now: Now, id: NodeId) {
        let window = self.window();
        loop {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if peer.out.due(window, &self.settings.link).is_none_or(|due| due > now.elapsed) {
                return;
            }
            let (number, frames) = peer.out.take(now.elapsed, &self.settings.link);
            let (ack, mark) = (peer.ack(), Mark { epoch: peer.epoch, number });
            self.counters.batches_sent += 1;
            self.send(now, id, Message::Batch { ack, mark, frames });
        }
    }

    fn send_due_ack(&mut self, now: Now, id: NodeId) {
        let window = self.window();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.incoming.ack_due(window).is_some_and(|due| due <= now.elapsed) {
            let (ack, mark) = (peer.ack(), Mark { epoch: peer.epoch, number: 0 });
            self.counters.acks_sent += 1;
            self.send(now, id, Message::Batch { ack, mark, frames: Bytes::new() });
        }
    }

    fn send_due_beat(&mut self, now: Now, id: NodeId) {
        let facts = self.facts.root(now.unix_ms);
        let summary = self.interest.summary().encode();
        let (members, clock_ms) = (self.members_hash(), self.clock_ms(now));
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.beat_at <= now.elapsed) else { return };
        peer.beat_at = now.elapsed + self.settings.heartbeat;
        let (ack, last) = (peer.ack(), peer.last());
        let beat = Beat { ack, last, summary: summary.into(), facts, members, clock_ms };
        self.send(now, id, Message::Beat(beat));
    }

    /// Asks for what is missing on a link, and gives up what will not come.
    fn mend(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let lost = peer.incoming.give_up(now.elapsed);
        if lost > 0 {
            self.lost(now, id, lost);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Some((from, to)) = peer.incoming.to_ask(now.elapsed, PATIENCE) {
            let from = Mark { epoch: peer.in_epoch, number: from };
            self.ask_range(now, id, from, to);
        }
    }

    /// Counts batches that will not come, and goes on with those after them.
    pub(super) fn lost(&mut self, now: Now, id: NodeId, batches: u64) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.lost_batches += batches;
            // A change of its interest may have been among them.
            peer.interest.mark_stale();
        }
        self.counters.batches_lost += batches;
        self.effects.push(Effect::Lost { from: id, count: batches, why: Loss::Missing });
        self.hand_out(now, id);
    }

    /// Publishes an event to every peer that may have subscribers of its topic, and, if it has a name, to those that keep
    /// it.
    pub fn publish(&mut self, event: &Event<'_>) -> Published {
        let keepers = if event.name.is_some() { self.keepers(event.topic) } else { Vec::new() };
        let unnamed = Event { name: None, ..*event };
        let probe = Probe::new(event.topic, self.interest.filter().bits());
        let (mut queued, mut due) = (0, Vec::new());
        for (id, peer) in &mut self.peers {
            if !peer.live {
                peer.missed += u64::from(!peer.left && peer.interest.matched(&probe));
                continue;
            }
            let keeps = keepers.contains(id);
            if !keeps && !peer.interest.matches(&probe) {
                continue;
            }
            let pushed = peer.out.push(if keeps { event } else { &unnamed }, &self.settings.link);
            if pushed == Pushed::Dropped {
                self.counters.events_dropped += 1;
            } else {
                peer.events_out += 1;
                queued += 1;
            }
            if pushed == Pushed::Decisive {
                due.push(*id);
            }
        }
        self.counters.events_queued += queued as u64;
        let decides = !due.is_empty();
        for id in due {
            self.schedule(id);
        }
        Published { queued, decides }
    }
}

// === impl Peer ===

impl Peer {
    /// Follows the peer's link into a new epoch.
    fn follow(&mut self, epoch: u32) -> Followed {
        if epoch < self.in_epoch {
            return Followed::Not;
        }
        if epoch == self.in_epoch {
            return Followed::On;
        }
        let is_first = self.in_epoch == 0;
        self.begin_incoming(epoch);
        // Changes of its interest may have been meant for the epoch before.
        self.interest.mark_stale();
        if is_first { Followed::On } else { Followed::Anew }
    }
}
