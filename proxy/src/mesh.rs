//! The instance's part in the mesh: the state machine of `revenprox_mesh` between the hub and NNG.
//!
//! Publishers and subscribers change the state machine under its lock, for less than a microsecond as a rule, and
//! wake the driver. The driver is one task: it takes what arrived, lets the state machine decide, and does
//! what comes out. Nobody else does I/O, and nothing in it waits for a peer.

mod advertise;
pub(crate) mod arrival;
mod convert;
mod driver;
mod fetching;
mod handover;
mod keeping;
mod presence;
mod questions;
mod repair;
mod settling;
mod setup;
pub(crate) mod sockets;
mod taking;

use std::{sync::Arc, time::Duration};

use opentelemetry::trace::SpanContext;
use parking_lot::Mutex;
use revenprox_mesh::{
    Now,
    discovery::{self, Discovery},
    node::{Counters, Node, PeerView},
    seal, transport,
    wire::{self, Stamp},
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub use self::{driver::Driver, presence::Presence, settling::Missing, setup::MeshError};
use crate::{
    event::EventId,
    hub::{Others, Topic, now_ms},
    revocation::Claim,
    topic::TopicId,
};

/// What the rest of the proxy shares with the driver.
pub struct Mesh {
    node: Mutex<Node>,
    sockets: Box<dyn sockets::Sockets>,
    sealer: Mutex<seal::Sealer>,
    discovery: Discovery,
    started: Instant,
    wake: Notify,
    /// The version of this instance's interest that all peers know.
    effective: watch::Sender<u64>,
    questions: questions::Questions,
    fetching: fetching::Fetching,
    moves: handover::Moves,
    late: repair::Late,
    settling: settling::Settling,
    counts: driver::Counts,
}

/// What the mesh has done, for metrics.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Other instances, live or not.
    pub peers: Vec<PeerView>,
    /// What the state machine has counted.
    pub node: Counters,
    /// What the sockets have done.
    pub transport: transport::Stats,
    /// What discovery has done.
    pub discovery: discovery::Stats,
    /// Batches that wait for delivery here.
    pub held: u64,
    /// Messages whose envelope was refused.
    pub unopened: u64,
    /// Facts in force, and those that had no room.
    pub facts: (u64, u64),
    /// Topics that others forward here.
    pub topics: u64,
    /// Fetches of topics' history from others, and those that did not come in time.
    pub fetches: (u64, u64),
    /// Topics moved to new keepers, their bytes, and those that were not taken.
    pub moved: (u64, u64, u64),
    /// Instances that were not met, or have not handed history over, since this one started.
    pub left_out: u64,
}

// === impl Reading ===

impl Reading {
    /// One with a peer.
    pub fn example() -> Self {
        Self { peers: vec![PeerView::default()], ..Self::default() }
    }
}

// === impl Mesh ===

impl Mesh {
    /// Waits until every live peer forwards what has been announced so far, or `limit` is over. Returns whether
    /// they do.
    pub async fn settled(&self, limit: Duration) -> bool {
        let wanted = self.node.lock().interest().pending_version();
        let mut effective = self.effective.subscribe();
        let settled = tokio::time::timeout(limit, effective.wait_for(|version| *version >= wanted)).await;
        settled.is_ok()
    }

    /// Tells all instances that tokens are revoked. `false` if there are too many revocations, or the claim is too long.
    pub fn revoke(&self, claim: &Claim, time: Duration) -> bool {
        let until_ms = now_ms().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let Some(fact) = convert::to_fact(claim, until_ms) else { return false };
        let known = {
            let mut node = self.node.lock();
            node.add_fact(self.now(), fact.clone());
            node.facts().contains(&fact, now_ms())
        };
        self.wake.notify_one();
        known
    }

    /// Tells all peers that this instance ends. The driver has to run on for a moment.
    pub fn leave(&self) {
        self.node.lock().leave(self.now());
        self.wake.notify_one();
    }

    /// What there is to measure.
    pub fn reading(&self) -> Reading {
        let node = self.node.lock();
        Reading {
            peers: node.peers(self.now()),
            node: node.counters(),
            transport: self.sockets.stats(),
            discovery: self.discovery.stats(),
            held: self.counts.held(),
            unopened: self.counts.unopened(),
            facts: (node.facts().len() as u64, node.facts().refused()),
            topics: node.interest().topics() as u64,
            fetches: self.fetching.counts(),
            moved: self.moved(),
            left_out: self.left_out(),
        }
    }

    fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), unix_ms: now_ms() }
    }
}

impl Others for Mesh {
    fn publish(&self, topic: &Topic, id: EventId, after_id: &[u8], trace: Option<&SpanContext>) {
        let trace = trace.map(convert::to_trace);
        let event = wire::Event {
            topic: convert::to_mesh(topic.id()),
            stamp: Stamp { clock: id.packed(), origin: id.origin.0 },
            trace: trace.as_ref(),
            name: Some(topic.name().as_str().as_bytes()),
            block: after_id,
        };
        let mut node = self.node.lock();
        node.issued(id.ms);
        if node.publish(&event).decides {
            self.wake.notify_one();
        }
    }

    fn subscribe(&self, topic: TopicId) {
        self.node.lock().subscribe(convert::to_mesh(topic));
        self.wake.notify_one();
    }

    fn unsubscribe(&self, topic: TopicId) {
        self.node.lock().unsubscribe(convert::to_mesh(topic));
        self.wake.notify_one();
    }

    fn ahead_ms(&self) -> u64 {
        self.node.lock().ahead_ms()
    }

    fn kept_since(&self, topic: TopicId) -> Option<u64> {
        self.node.lock().kept_since(convert::to_mesh(topic))
    }

    fn was_kept_since(&self, topic: TopicId) -> Option<u64> {
        self.node.lock().was_kept_since(convert::to_mesh(topic))
    }
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mesh")
    }
}

/// What the hub, the server and the driver share.
pub type SharedMesh = Arc<Mesh>;
