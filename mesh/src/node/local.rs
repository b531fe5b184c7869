//! What changes here and others have to know.

use bytes::Bytes;

use super::Node;
use crate::{identity::TopicId, wire::Frame};

// === impl Node ===

impl Node {
    /// The topic has subscribers here from now on. Returns the version of the interest to wait for, if somebody
    /// does not know of them yet: see [`effective`](Self::effective).
    pub fn subscribe(&mut self, topic: TopicId) -> Option<u64> {
        if self.interest.insert(topic) {
            return Some(self.interest.pending_version());
        }
        // The filter has said so already, but perhaps not to everybody.
        let version = self.interest.version();
        (self.effective() < version).then_some(version)
    }

    /// The topic has no subscribers here any more.
    pub fn unsubscribe(&mut self, topic: TopicId) {
        self.interest.remove(topic);
    }

    /// Every live peer forwards what belongs to this instance's interest as it was at this version.
    pub fn effective(&self) -> u64 {
        let live = self.peers.values().filter(|peer| peer.live);
        live.map(|peer| peer.knows).min().unwrap_or(u64::MAX)
    }

    /// Queues what has changed in the interest for all peers.
    pub(super) fn announce_interest(&mut self) {
        while let Some(delta) = self.interest.take_delta() {
            let version = self.interest.version();
            let mut frame = Vec::new();
            Frame::Interest(delta.into()).encode(&mut frame);
            self.tell_all(&frame.into(), version);
        }
    }

    /// Queues a frame of the mesh's own for all peers.
    pub(super) fn tell_all(&mut self, frame: &Bytes, version: u64) {
        let live: Vec<_> = self.peers.iter().filter(|(_, peer)| peer.live).map(|(id, _)| *id).collect();
        for id in live {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.out.push_control(frame.clone(), version, &self.settings.link);
            }
            self.schedule(id);
        }
    }
}
