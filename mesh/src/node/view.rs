//! What operators and tests see of a node.

use std::time::Duration;

use super::Node;
use crate::{
    Now,
    identity::{Address, NodeId, Session},
    keepers::keepers,
};

/// What a node has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches sent for the first time.
    pub batches_sent: u64,
    /// Batches sent again after a connection was made anew.
    pub batches_resent: u64,
    /// Acknowledgements that had no batch to ride on.
    pub acks_sent: u64,
    /// Batches that had been received before.
    pub batches_again: u64,
    /// Batches so far ahead that they could not wait.
    pub batches_early: u64,
    /// Events queued for peers.
    pub events_queued: u64,
    /// Events that peers did not get because they do not keep up.
    pub events_dropped: u64,
    /// Events that peers dropped, since this instance did not keep up.
    pub events_lost: u64,
    /// Batches of peers that were given up.
    pub batches_lost: u64,
    /// Ranges of batches fetched.
    pub repairs: u64,
    /// Fetches without an answer.
    pub repairs_failed: u64,
    /// Messages of instances that have not said hello, or of earlier runs.
    pub strangers: u64,
    /// Messages that were malformed or of no version in common.
    pub refused: u64,
    /// Addresses that were not dialled because there are too many.
    pub targets_refused: u64,
}

/// One other instance.
#[derive(Clone, Debug, Default)]
pub struct PeerView {
    /// Who.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its run.
    pub session: Session,
    /// Whether both sides hear each other.
    pub live: bool,
    /// Where it is reached.
    pub address: Option<Address>,
    /// Whether that link is up.
    pub up: bool,
    /// Since it was last heard.
    pub silent: Duration,
    /// Events that wait for it.
    pub queue: usize,
    /// Batches that it has not acknowledged.
    pub in_flight: usize,
    /// Bytes held for it.
    pub bytes: usize,
    /// Events that it did not get because it does not keep up.
    pub dropped: u64,
    /// Events sent to it, and received from it.
    pub events: (u64, u64),
    /// Bytes of messages sent to it, and received from it, without envelope; questions and answers are not counted.
    pub traffic: (u64, u64),
    /// Events and batches from it that will not come.
    pub lost: (u64, u64),
    /// Batches from it that are not taken yet.
    pub lag: u64,
    /// The version of this instance's interest that it has acknowledged.
    pub knows: u64,
    /// The version of its interest that is known here; none until it is.
    pub interest_version: Option<u64>,
    /// Topics that it has subscribers for, as far as known.
    pub topics: u64,
    /// The share of bits that are set in its filter.
    pub fill: f64,
    /// Bytes of its filter here.
    pub filter_bytes: usize,
}

// === impl Node ===

impl Node {
    /// All other instances of which something is known.
    pub fn peers(&self, now: Now) -> Vec<PeerView> {
        let view = |(id, peer): (&NodeId, &super::peer::Peer)| {
            let (queue, in_flight) = peer.out.depth();
            let (taken, known) = peer.incoming.progress();
            PeerView {
                id: *id,
                name: peer.name.clone(),
                session: peer.session,
                live: peer.live,
                address: peer.at.clone(),
                up: self.is_up(*id),
                silent: now.elapsed.saturating_sub(peer.met),
                queue,
                in_flight,
                bytes: peer.out.bytes(),
                dropped: peer.out.dropped(),
                events: (peer.events_out, peer.events_in),
                traffic: (peer.bytes_out, peer.bytes_in),
                lost: (peer.lost_events, peer.lost_batches),
                lag: known.saturating_sub(taken),
                knows: peer.knows,
                interest_version: peer.interest.version(),
                topics: peer.interest.topics(),
                fill: peer.interest.fill(),
                filter_bytes: peer.interest.bytes(),
            }
        };
        self.peers.iter().map(view).collect()
    }

    /// Peers that are live.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Addresses at which others are said to be and nobody has been met.
    pub fn unmet(&self) -> usize {
        let is_met = |id: NodeId| self.is_live(id);
        self.targets.values().filter(|target| target.idle.is_none() && !target.id.is_some_and(is_met)).count()
    }

    /// By how much the ids of other instances may be ahead of the clock here, in milliseconds.
    pub fn ahead_ms(&self) -> u64 {
        let ahead = self.peers.values().map(|peer| peer.clock_ahead_ms).max().unwrap_or(0);
        ahead.max(0).unsigned_abs()
    }

    /// No id given here so far is later.
    pub(super) fn clock_ms(&self, now: Now) -> u64 {
        self.issued_ms.max(now.unix_ms)
    }

    /// Notes the time in an id that is given here. It may be ahead of the clock.
    pub fn issued(&mut self, ms: u64) {
        self.issued_ms = self.issued_ms.max(ms);
    }

    /// Whether a live peer has taken everything that was meant for it.
    pub fn is_done_with(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.live && peer.out.depth() == (0, 0))
    }

    /// Whether another instance is a live peer.
    pub fn is_live(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.live)
    }

    /// Live peers that may have subscribers of a topic.
    pub fn interested(&self, topic: crate::identity::TopicId) -> Vec<NodeId> {
        let may = |peer: &super::peer::Peer| peer.live && peer.interest.may_contain(topic);
        self.peers.iter().filter(|(_, peer)| may(peer)).map(|(id, _)| *id).collect()
    }

    /// The members that keep a topic's history, the first one first; this instance may be among them.
    pub fn keepers(&self, topic: crate::identity::TopicId) -> Vec<NodeId> {
        keepers(topic, self.rosters.now().members.iter().copied(), self.settings.keepers)
    }

    /// Since when this instance has kept a topic without a break, in milliseconds since the Unix epoch, if it does.
    pub fn kept_since(&self, topic: crate::identity::TopicId) -> Option<u64> {
        self.rosters.kept_since(topic, self.settings.keepers)
    }

    /// The same, or when it last did, if the members have changed lately.
    pub fn was_kept_since(&self, topic: crate::identity::TopicId) -> Option<u64> {
        self.rosters.was_kept_since(topic, self.settings.keepers)
    }

    /// The members that keep a topic, and those that did before the latest changes, this instance left out.
    pub fn other_keepers(&self, topic: crate::identity::TopicId) -> (Vec<NodeId>, Vec<NodeId>) {
        let (mut present, mut former) = self.rosters.present_and_former(topic, self.settings.keepers);
        present.retain(|keeper| *keeper != self.id);
        former.retain(|keeper| *keeper != self.id);
        (present, former)
    }

    /// How many members keep a topic.
    pub fn keeper_count(&self) -> usize {
        self.settings.keepers
    }

    /// Who is there, this instance included.
    pub fn roster(&self) -> &crate::keepers::Roster {
        self.rosters.now()
    }

    /// What is known of another instance's interest.
    pub fn interest_of(&self, id: NodeId) -> Option<&crate::interest::Theirs> {
        self.peers.get(&id).map(|peer| &peer.interest)
    }

    /// Bytes of the filters of other instances.
    pub fn copies_bytes(&self) -> usize {
        self.peers.values().map(|peer| peer.interest.bytes()).sum()
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The own interest.
    pub fn interest(&self) -> &crate::interest::Own {
        &self.interest
    }
}
