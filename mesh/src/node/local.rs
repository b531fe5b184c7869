//! What changes here and others have to know.

use std::time::Duration;

use bytes::Bytes;

use super::Node;
use crate::{Now, identity::TopicId, wire::Frame};

/// With an acknowledgement for each, about 0.5 MB a second in either direction.
const ANNOUNCED_PER_SECOND: u32 = 1_000;

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

    /// When what has changed in the interest is to be announced. A lone subscription is announced at once; many together,
    /// so that announcements stay below [`ANNOUNCED_PER_SECOND`] messages, whatever the number of peers. What
    /// nobody waits for goes with it, or by itself once in a heartbeat.
    pub(super) fn announcement_due(&self) -> Option<Duration> {
        let pause =
            Duration::from_secs(1) * u32::try_from(self.live).unwrap_or(u32::MAX) / ANNOUNCED_PER_SECOND;
        let pause = if self.interest.is_urgent() { pause } else { pause.max(self.settings.heartbeat) };
        self.interest.is_pending().then(|| self.announced_at.map_or(Duration::ZERO, |at| at + pause))
    }

    /// Queues what has changed in the interest for all peers, if that is due.
    pub(super) fn announce_interest(&mut self, now: Now) {
        if self.announcement_due().is_none_or(|due| due > now.elapsed) {
            return;
        }
        self.announced_at = Some(now.elapsed);
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
