//! One instance's part of the mesh, as a state machine: what happens goes in by methods, what has to be done
//! comes out as [`Effect`]s.
//!
//! Two instances are *peers* once each has heard the other say who it is and answer the other's session; from
//! then on both links carry batches. What an instance owns, its interest, only it writes; facts are merged by
//! everybody. Whatever a lost message leaves out is found by comparing at each beat, and fetched.

mod facts;
mod flow;
mod greet;
mod local;
mod members;
mod peer;
mod repair;
mod target;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use self::{
    flow::Published,
    repair::Failed,
    view::{Counters, PeerView},
};
use self::{members::Members, peer::Peer, repair::Pending, target::Target};
use crate::{
    Now,
    facts::{Fact, Facts},
    identity::{Address, NodeId, Session},
    interest,
    keepers::Rosters,
    link::Bounds,
    wire::{Body, Events, Mark},
};

/// The receive queue of an inbox, in messages, which all peers share. All windows together stay below it.
const INBOX_MESSAGES: usize = 8192;
const WINDOW_MIN: usize = 4;
const WINDOW_MAX: usize = 256;

/// How an instance behaves in the mesh.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, unique in the mesh.
    pub name: String,
    /// Where others reach its inbox.
    pub addresses: Vec<Address>,
    /// How often it tells each peer that it is there.
    pub heartbeat: Duration,
    /// A peer that is silent for so long is gone.
    pub peer_timeout: Duration,
    /// How often it asks peers who else is there, at least, while they know of others than it does.
    pub gossip: Duration,
    /// How long it remembers those that are gone.
    pub forget_after: Duration,
    /// How much may wait for one peer, and how it is bundled.
    pub link: Bounds,
    /// Topics that its interest is made for.
    pub interest_capacity: usize,
    /// The share of topics without subscribers that others take for having some.
    pub interest_fpr: f64,
    /// How many instances keep a topic's history; 0 keeps none.
    pub keepers: usize,
    /// The most other instances it deals with.
    pub members_max: usize,
}

/// To whom a message goes: part of what the envelope authenticates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// Who; zero while only an address is known.
    pub id: NodeId,
    /// The receiver's session that the sender hears; none if it hears none.
    pub answers: Session,
}

/// From whom a message comes, as the envelope authenticated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Who.
    pub id: NodeId,
    /// Which run of it.
    pub session: Session,
    /// The receiver's session that the sender hears; none if it hears none.
    pub answers: Session,
}

/// What has to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Keep a link to this address up.
    Dial(Address),
    /// No longer.
    HangUp(Address),
    /// Send on the link to this address.
    Send {
        /// The link.
        to: Address,
        /// For the envelope.
        recipient: Recipient,
        /// The message.
        body: Body,
    },
    /// Ask at this address, and bring the answer, or that there was none, to [`Node::reply`].
    Request {
        /// Whom.
        to: Address,
        /// Names the answer.
        tag: u64,
        /// For the envelope.
        recipient: Recipient,
        /// The question.
        body: Vec<u8>,
    },
    /// Events for subscribers here. Once they have been taken, [`Node::delivered`] has to be called: only then
    /// are they acknowledged, so what is not taken holds its sender back.
    Deliver {
        /// Who sent them.
        from: NodeId,
        /// Which run of it.
        session: Session,
        /// The batch that they came in.
        mark: Mark,
        /// In order.
        events: Events,
    },
    /// Facts that were not known here, from others.
    Facts(Vec<Fact>),
    /// A question for the application; [`Node::answer`] makes the envelope's part of the answer.
    Asked {
        /// Names the question to the transport.
        ticket: u64,
        /// Who asks.
        from: NodeId,
        /// The question.
        body: Vec<u8>,
    },
    /// The answer to a question of the application's.
    Answered {
        /// As [`Node::ask`] gave it.
        tag: u64,
        /// Who was asked.
        from: NodeId,
        /// The answer.
        answer: Result<Vec<u8>, Failed>,
    },
    /// A peer is there, or there again after it had given this instance up.
    PeerUp {
        /// Who.
        id: NodeId,
        /// Its name.
        name: String,
        /// It has just been started, so that nothing can have passed by between the two.
        is_new: bool,
    },
    /// A peer is gone.
    PeerDown {
        /// Who.
        id: NodeId,
        /// Its name.
        name: String,
        /// Why.
        why: Down,
    },
    /// Events from a peer that will not come.
    Lost {
        /// From whom.
        from: NodeId,
        /// How many, where the sender could tell; batches otherwise.
        count: u64,
        /// Why.
        why: Loss,
    },
    /// Another instance runs under the name of this one.
    NameClash,
    /// A message that was refused, and why.
    Refused {
        /// From whom.
        from: NodeId,
        /// Why.
        why: Refusal,
    },
}

/// Why a peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// Nothing was heard of it for too long, or it does not hear this instance.
    Silent,
    /// It began anew.
    Restarted,
    /// It said so.
    Left,
}

/// Why events will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// They waited at the sender until its queue was full.
    Overflow,
    /// Batches were lost on the way and the sender has them no more.
    Missing,
}

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not what this version understands.
    #[error(transparent)]
    Malformed(#[from] crate::wire::Malformed),
    /// The two have no version of the protocol in common.
    #[error("it speaks versions {0} to {1} of the protocol; upgrade one version at a time")]
    Version(u8, u8),
    /// The envelope and the message disagree on who sent it.
    #[error("it gives a name that is not the sender's")]
    Name,
    /// There are as many members as are allowed.
    #[error("there are more instances than nng.max_peers allows")]
    TooMany,
    /// More topics than there is memory for: everything is forwarded to the peer.
    #[error(
        "its interest is more than four times as large as distributed_state.bloom_filter_capacity foresees here; give all instances the same"
    )]
    FilterTooLarge,
    /// State that does not decode.
    #[error("its replicated state is malformed")]
    State,
}

/// See the module.
pub struct Node {
    settings: Settings,
    id: NodeId,
    session: Session,
    targets: BTreeMap<Address, Target>,
    /// The latest time in an id given here, in milliseconds since the Unix epoch.
    issued_ms: u64,
    /// Of these, those with somebody there of whom it is not known who.
    strangers: BTreeSet<Address>,
    forget_at: Duration,
    members: Members,
    peers: BTreeMap<NodeId, Peer>,
    /// When each peer has to be looked after; each is in here once, under its `timer`.
    timers: BTreeSet<(Duration, NodeId)>,
    targets_due: Duration,
    interest: interest::Own,
    facts: Facts,
    rosters: Rosters,
    pending: BTreeMap<u64, Pending>,
    next_tag: u64,
    epochs: u32,
    /// When changes of the interest were last announced.
    announced_at: Option<Duration>,
    live: usize,
    counters: Counters,
    effects: Vec<Effect>,
}

// === impl Node ===

impl Node {
    /// An instance that knows nobody yet.
    pub fn new(settings: Settings, session: Session) -> Self {
        Self {
            id: NodeId::of(&settings.name),
            session,
            targets: BTreeMap::new(),
            issued_ms: 0,
            strangers: BTreeSet::new(),
            forget_at: Duration::ZERO,
            members: Members::default(),
            peers: BTreeMap::new(),
            timers: BTreeSet::new(),
            targets_due: Duration::ZERO,
            interest: interest::Own::new(settings.interest_capacity, settings.interest_fpr),
            facts: Facts::default(),
            rosters: Rosters::new(NodeId::of(&settings.name), session.incarnation),
            pending: BTreeMap::new(),
            next_tag: 1,
            epochs: 0,
            announced_at: None,
            live: 0,
            counters: Counters::default(),
            effects: Vec::new(),
            settings,
        }
    }

    /// Who this is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Which run of it.
    pub fn session(&self) -> Session {
        self.session
    }

    /// What has to be done, in order.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// Does what is due. To be called after other methods, and at [`next_wake`](Self::next_wake).
    pub fn flush(&mut self, now: Now) {
        self.announce_interest(now);
        if self.targets_due <= now.elapsed {
            self.greet_targets(now);
        }
        while let Some((due, id)) = self.timers.first().copied().filter(|(due, _)| *due <= now.elapsed) {
            self.timers.remove(&(due, id));
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.timer = None;
            }
            self.look_after(now, id);
        }
    }

    /// When [`flush`](Self::flush) has something to do again, in elapsed time.
    pub fn next_wake(&self) -> Duration {
        let timer = self.timers.first().map(|(due, _)| *due);
        let due = [timer, self.announcement_due()].into_iter().flatten().min();
        due.map_or(self.targets_due, |due| due.min(self.targets_due))
    }

    /// How many batches may be on their way to one peer, so that those of all peers fit into an inbox.
    fn window(&self) -> usize {
        (INBOX_MESSAGES / (self.live + 1)).clamp(WINDOW_MIN, WINDOW_MAX)
    }

    /// An epoch for a link, greater than all before: so no link goes on where an earlier one to the same peer, by now
    /// forgotten, had ended.
    fn next_epoch(&mut self) -> u32 {
        self.epochs += 1;
        self.epochs
    }

    /// Enters a peer's next deadline in the timers.
    fn schedule(&mut self, id: NodeId) {
        let (window, up) = (self.window(), self.is_up(id));
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let due = peer.next_due(&self.settings, window, up);
        if peer.timer == due {
            return;
        }
        if let Some(before) = peer.timer {
            self.timers.remove(&(before, id));
        }
        if let Some(due) = due {
            self.timers.insert((due, id));
        }
        peer.timer = due;
    }
}
