//! How instances find each other, become peers, and part.
//!
//! An address is dialled because discovery names it or because another instance does. A hello says who dials,
//! and where; the answer comes on a link in the other direction, and says at which address its receiver is
//! reached. That is how an address becomes a known instance, whatever name it was found by.

use std::time::Duration;

use super::{
    Down, Effect, Node, Recipient, Refusal, Sender,
    peer::Peer,
    target::{Idle, Target},
};
use crate::{
    Now,
    identity::{Address, NodeId, Session},
    interest::Theirs,
    wire::{Hello, Message},
};

/// An instance that began so lately, and after this one, has accepted nothing that this one should have got.
const NEW_MS: u64 = 10_000;

// === impl Node ===

impl Node {
    /// Discovery names these addresses, and no others.
    pub fn discovered(&mut self, now: Now, addresses: &[Address]) {
        for (address, target) in &mut self.targets {
            target.discovered = addresses.contains(address);
        }
        for address in addresses.iter().take(self.settings.members_max * 2) {
            self.learn(now, address, true);
        }
    }

    /// The link to this address is up.
    pub fn link_up(&mut self, now: Now, at: &Address) {
        let Some(target) = self.targets.get_mut(at).filter(|target| target.idle.is_none()) else { return };
        target.up = true;
        target.hello_at = now.elapsed;
        if target.is_stranger() {
            self.strangers.insert(at.clone());
            self.targets_due = now.elapsed;
        }
        if let Some(id) = target.id {
            self.choose_link(now, id);
            if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.at.as_ref() == Some(at)) {
                peer.hellos = 0;
                peer.hello_at = now.elapsed;
            }
            self.revive(now, id);
            self.resend(now, id);
            self.schedule(id);
        }
    }

    /// The link to this address is down.
    pub fn link_down(&mut self, now: Now, at: &Address) {
        let Some(target) = self.targets.get_mut(at) else { return };
        target.up = false;
        self.strangers.remove(at);
        if let Some(id) = target.id {
            self.choose_link(now, id);
            self.schedule(id);
        }
    }

    /// Tells all peers that this instance ends.
    pub fn leave(&mut self, now: Now) {
        let ids: Vec<_> = self.peers.keys().copied().collect();
        for id in ids {
            self.send(now, id, Message::Leave);
        }
    }

    /// Another instance says who it is.
    pub(super) fn hello(&mut self, now: Now, sender: Sender, hello: Hello) {
        if sender.id == self.id {
            return self.met_own_name(sender.session, &hello.dialled);
        }
        let refusal = self.refuses(sender, &hello);
        if let Some(why) = refusal {
            return self.refuse(sender.id, why);
        }
        let class_max = self.interest.class_limit();
        let peer = self
            .peers
            .entry(sender.id)
            .or_insert_with(|| Peer { interest: Theirs::up_to(class_max), ..Peer::default() });
        let is_heard = !peer.answers(now, &self.settings).is_none();
        let is_over = peer.left && sender.session == peer.session;
        if is_over || is_heard && sender.session < peer.session {
            // From an earlier run: late, or played back.
            self.counters.strangers += 1;
            return;
        }
        if sender.session != peer.session {
            self.part(now, sender.id, Down::Restarted);
        }
        let epoch = self.next_epoch();
        let Some(peer) = self.peers.get_mut(&sender.id) else { return };
        if sender.session != peer.session {
            peer.begin(sender.session, epoch, now);
            self.doubt_links(now, sender.id, &hello);
        }
        let Some(peer) = self.peers.get_mut(&sender.id) else { return };
        peer.met = now.elapsed;
        peer.note_clock(now, hello.clock_ms);
        peer.name = hello.name;
        peer.reaches_us_at = Some(hello.dialled);
        let before = std::mem::replace(&mut peer.addresses, hello.addresses);
        if before != peer.addresses {
            self.members.advertises(sender.id, &before, &peer.addresses);
            if peer.live {
                self.members.parted(sender.id, before.first());
                self.members.joined(sender.id, peer.addresses.first());
            }
        }
        if sender.answers != self.session {
            // It waits for this instance's hello.
            peer.hellos = 0;
            peer.hello_at = peer.hello_at.min(now.elapsed);
        }
        self.locate(now, sender.id, hello.reached.as_ref());
        self.heard(now, sender);
        self.schedule(sender.id);
    }

    /// Notes that a peer is there, and whether it hears this instance.
    pub(super) fn heard(&mut self, now: Now, sender: Sender) {
        let Some(peer) = self.peers.get_mut(&sender.id) else { return };
        peer.met = now.elapsed;
        if sender.answers == self.session {
            peer.heard = Some(now.elapsed);
            self.revive(now, sender.id);
        }
    }

    /// Says hello to addresses of which it is not known who is there, and forgets who has long been gone.
    pub(super) fn greet_targets(&mut self, now: Now) {
        let mut next = Duration::MAX;
        for address in std::mem::take(&mut self.strangers) {
            let Some(target) = self.targets.get_mut(&address).filter(|target| target.is_stranger()) else {
                continue;
            };
            let is_due = target.hello_at <= now.elapsed;
            if is_due {
                target.hello_at = now.elapsed + self.settings.heartbeat.min(Duration::from_millis(500));
            }
            next = next.min(target.hello_at);
            if is_due {
                self.send_hello(now, &address, Recipient::default(), None);
            }
            self.strangers.insert(address);
        }
        if self.forget_at <= now.elapsed {
            self.forget_at = now.elapsed + self.settings.peer_timeout;
            self.forget(now);
        }
        self.targets_due = next.min(self.forget_at);
    }

    /// Says hello to a known instance.
    pub(super) fn greet(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let recipient = Recipient { id, answers: peer.answers(now, &self.settings) };
        let reached = peer.reaches_us_at.clone();
        peer.greeted(now, &self.settings);
        if let Some(at) = peer.at.clone() {
            self.send_hello(now, &at, recipient, reached);
        }
    }

    /// Ends a peer's part in everything, if it has one.
    pub(super) fn part(&mut self, now: Now, id: NodeId, why: Down) {
        let (epoch, since_ms) = (self.next_epoch(), now.unix_ms + self.ahead_ms());
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.live) else { return };
        peer.live = false;
        peer.heard = None;
        peer.hellos = 0;
        peer.hello_at = now.elapsed;
        // What it may miss is counted by the interest that was known last.
        peer.missed = peer.out.outstanding();
        peer.begin_outgoing(epoch);
        peer.interest.mark_stale();
        peer.summary = None;
        peer.asking = super::peer::Asking::default();
        self.live -= 1;
        self.rosters.left(id, since_ms);
        self.members.parted(id, peer.addresses.first());
        let name = peer.name.clone();
        self.pending.retain(|_, pending| pending.id != id);
        self.effects.push(Effect::PeerDown { id, name, why });
        for address in &peer.dialled {
            let Some(target) = self.targets.get_mut(address) else { continue };
            target.since = now.elapsed;
            if target.idle.take().is_some() {
                self.effects.push(Effect::Dial(address.clone()));
            }
        }
    }

    fn refuses(&self, sender: Sender, hello: &Hello) -> Option<Refusal> {
        if hello.id() != sender.id {
            return Some(Refusal::Name);
        }
        if !hello.is_compatible() {
            return Some(Refusal::Version(hello.versions.0, hello.versions.1));
        }
        let full = self.peers.len() >= self.settings.members_max && !self.peers.contains_key(&sender.id);
        full.then_some(Refusal::TooMany)
    }

    fn met_own_name(&mut self, session: Session, dialled: &Address) {
        if session != self.session {
            self.effects.push(Effect::NameClash);
            return;
        }
        if let Some(target) = self.targets.get_mut(dialled).filter(|target| target.idle.is_none()) {
            target.idle = Some(Idle::Own);
            target.up = false;
            self.strangers.remove(dialled);
            self.effects.push(Effect::HangUp(dialled.clone()));
        }
    }

    /// Dials an address that is new.
    pub(super) fn learn(&mut self, now: Now, address: &Address, discovered: bool) {
        if let Some(target) = self.targets.get_mut(address) {
            target.discovered |= discovered;
            return;
        }
        if self.targets.len() >= self.settings.members_max * 2 {
            self.counters.targets_refused += 1;
            return;
        }
        let target = Target { discovered, since: now.elapsed, ..Target::default() };
        self.targets.insert(address.clone(), target);
        self.effects.push(Effect::Dial(address.clone()));
    }

    /// An instance has been started anew. Where its earlier run was, and it does not say that it is now, somebody else may be, or nobody
    /// who would say so: a connection to a machine that is gone stays up for long.
    fn doubt_links(&mut self, now: Now, id: NodeId, hello: &Hello) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let is_there =
            |address: &Address| hello.addresses.contains(address) || hello.reached.as_ref() == Some(address);
        let doubtful: Vec<_> = peer.dialled.extract_if(.., |address| !is_there(address)).collect();
        peer.at = peer.at.take().filter(is_there);
        for address in doubtful {
            let Some(target) = self.targets.get_mut(&address) else { continue };
            target.id = None;
            target.hello_at = now.elapsed;
            if target.is_stranger() {
                self.strangers.insert(address);
                self.targets_due = now.elapsed;
            }
        }
    }

    /// Finds the link to an instance: the address at which it says it is reached, one that it advertises and that is
    /// dialled already, or a new one.
    fn locate(&mut self, now: Now, id: NodeId, reached: Option<&Address>) {
        let Some(peer) = self.peers.get(&id) else { return };
        let advertised = peer.addresses.clone();
        let mut found = !peer.dialled.is_empty();
        for address in reached.into_iter().chain(&advertised) {
            found |= self.leads_to(address, id);
        }
        if let (false, Some(address)) = (found, advertised.first()) {
            self.learn(now, address, false);
            self.leads_to(address, id);
        }
        self.choose_link(now, id);
    }

    /// Notes who is at an address, if it is dialled. Returns whether it is.
    fn leads_to(&mut self, address: &Address, id: NodeId) -> bool {
        let Some(target) = self.targets.get_mut(address) else { return false };
        self.strangers.remove(address);
        if let Some(other) = target.id.replace(id).filter(|other| *other != id)
            && let Some(other) = self.peers.get_mut(&other)
        {
            other.dialled.retain(|dialled| dialled != address);
        }
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.dialled.contains(address)) {
            peer.dialled.push(address.clone());
        }
        true
    }

    /// Uses the link that is used already, if it is up, or another one that is; and hangs up the others.
    fn choose_link(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let is_up = |address: &Address| self.targets.get(address).is_some_and(|target| target.up);
        if !peer.at.as_ref().is_some_and(is_up) {
            match peer.dialled.iter().find(|address| is_up(address)) {
                Some(address) => peer.at = Some(address.clone()),
                None => return,
            }
        }
        for address in peer.dialled.iter().filter(|address| Some(*address) != peer.at.as_ref()) {
            let Some(target) = self.targets.get_mut(address).filter(|target| target.idle.is_none()) else {
                continue;
            };
            target.idle = Some(Idle::Alias);
            target.up = false;
            self.effects.push(Effect::HangUp(address.clone()));
        }
        self.revive(now, id);
    }

    /// Makes an instance a peer once both sides hear each other.
    fn revive(&mut self, now: Now, id: NodeId) {
        let up = self.is_up(id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.live || !up || !peer.is_heard(now, &self.settings) {
            return;
        }
        peer.live = true;
        peer.beat_at = now.elapsed;
        peer.out.owe(std::mem::take(&mut peer.missed));
        self.members.joined(id, peer.addresses.first());
        // It may have heard this instance all the time, and know an interest of before. Once it follows the link into
        // its new epoch it forwards everything, until it has compared.
        (peer.knows, peer.knows_from) = (0, self.interest.version());
        self.live += 1;
        // As the clock here would have said.
        let began = peer.session.incarnation.saturating_add_signed(-peer.clock_ahead_ms);
        let is_new = began > self.session.incarnation && now.unix_ms < began.saturating_add(NEW_MS);
        let name = peer.name.clone();
        let since_ms = now.unix_ms + self.ahead_ms();
        self.rosters.joined(id, is_new, since_ms);
        self.effects.push(Effect::PeerUp { id, name, is_new });
    }

    fn send_hello(&mut self, now: Now, to: &Address, recipient: Recipient, reached: Option<Address>) {
        let hello = Hello::new(&self.settings.name, &self.settings.addresses, to.clone(), reached);
        let body = Message::Hello(Hello { clock_ms: self.clock_ms(now), ..hello }).into_body();
        self.effects.push(Effect::Send { to: to.clone(), recipient, body });
    }

    /// Forgets addresses that nobody names any more and that lead to nobody, and instances that have long been gone.
    fn forget(&mut self, now: Now) {
        let after = self.settings.forget_after;
        self.peers.retain(|id, peer| {
            let keep = peer.live || now.elapsed < peer.met + after;
            if !keep {
                self.members.advertises(*id, &peer.addresses, &[]);
                if let Some(timer) = peer.timer {
                    self.timers.remove(&(timer, *id));
                }
            }
            keep
        });
        let (peers, effects, strangers) = (&mut self.peers, &mut self.effects, &mut self.strangers);
        self.targets.retain(|address, target| {
            let live = target.id.and_then(|id| peers.get(&id)).is_some_and(|peer| peer.live);
            let keep = target.discovered || live || now.elapsed < target.since + after;
            if !keep && target.idle.is_none() {
                effects.push(Effect::HangUp(address.clone()));
            }
            match target.id.and_then(|id| peers.get_mut(&id)) {
                Some(peer) if !keep => peer.dialled.retain(|dialled| dialled != address),
                Some(_) => {}
                None => target.id = None,
            }
            if !keep {
                strangers.remove(address);
            } else if target.is_stranger() {
                strangers.insert(address.clone());
            }
            keep
        });
    }
}
