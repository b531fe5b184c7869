//! Becoming part of a mesh: a new instance is ready once it has met the others and has from them what it keeps from now on.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use revenprox_mesh::identity::NodeId;
use tokio::{sync::watch, time::timeout};

use super::{Mesh, questions};

/// What a new instance waits for.
#[derive(Debug)]
pub(super) struct Settling {
    /// Addresses at which nobody has been met yet; none until discovery has answered.
    unmet: watch::Sender<Option<usize>>,
    /// Peers that have not handed over yet what this instance keeps instead of them.
    owing: watch::Sender<Vec<NodeId>>,
    done: AtomicBool,
}

/// What is missing until an instance is part of the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Addresses of other instances at which nobody has been met; none until discovery has answered.
    pub unmet: Option<usize>,
    /// Instances that have not handed history over yet.
    pub owing: usize,
}

// === impl Settling ===

impl Default for Settling {
    fn default() -> Self {
        Self {
            unmet: watch::Sender::new(None),
            owing: watch::Sender::new(Vec::new()),
            done: AtomicBool::new(false),
        }
    }
}

impl Settling {
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn met(&self, unmet: Option<usize>) {
        self.unmet.send_if_modified(|known| std::mem::replace(known, unmet) != unmet);
    }

    pub(super) fn owes(&self, peer: NodeId) {
        self.owing.send_if_modified(|owing| {
            let is_new = !owing.contains(&peer);
            if is_new {
                owing.push(peer);
            }
            is_new
        });
    }

    pub(super) fn owes_nothing(&self, peer: NodeId) {
        self.owing.send_if_modified(|owing| {
            let before = owing.len();
            owing.retain(|known| *known != peer);
            owing.len() < before
        });
    }

    pub(super) fn is_owed_by(&self, peer: NodeId) -> bool {
        self.owing.borrow().contains(&peer)
    }

    fn missing(&self) -> Missing {
        Missing { unmet: *self.unmet.borrow(), owing: self.owing.borrow().len() }
    }
}

// === impl Mesh ===

impl Mesh {
    /// Waits until every instance that discovery names has been met, for at most `meeting`, and until those that were met have
    /// handed over what this instance keeps from now on, for at most `history`. An instance that does not answer must not keep
    /// all others from serving, so after that time the mesh counts as settled too, and the log says what is missing.
    pub async fn settle(&self, meeting: Duration, history: Duration) {
        let settling = &self.settling;
        let mut unmet = settling.unmet.subscribe();
        let met = timeout(meeting, unmet.wait_for(|unmet| *unmet == Some(0))).await.is_ok();
        let mut owing = settling.owing.subscribe();
        let handed = timeout(history, owing.wait_for(Vec::is_empty)).await.is_ok();
        settling.done.store(true, Ordering::Relaxed);
        let Missing { unmet, owing } = settling.missing();
        if met && handed {
            tracing::info!("part of the mesh: all instances are met and have handed history over");
        } else {
            tracing::warn!(
                ?unmet,
                owing,
                "ready without instances that were not met or did not hand history over in time"
            );
        }
    }

    /// What is missing until this instance is part of the mesh. `None` once it is.
    pub fn missing(&self) -> Option<Missing> {
        (!self.settling.is_done()).then(|| self.settling.missing())
    }

    /// What is missing, also when it is not waited for any more.
    pub(super) fn left_out(&self) -> u64 {
        let Missing { unmet, owing } = self.settling.missing();
        (unmet.unwrap_or(0) + owing) as u64
    }

    /// Tells a peer that it has all that it asked for.
    pub(super) async fn say_handed(&self, peer: NodeId, limit: Duration) {
        if let Some(asked) = self.ask(peer, &[questions::HANDED]) {
            // A peer that does not answer stops waiting by itself.
            let _ = asked.within(limit).await;
        }
    }
}

// === impl Missing ===

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.unmet {
            None => f.write_str("waiting for discovery to find other instances"),
            Some(unmet) if unmet > 0 => write!(f, "waiting for {unmet} other instances to answer"),
            Some(_) => write!(f, "waiting for history from {} other instances", self.owing),
        }
    }
}
