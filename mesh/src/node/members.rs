//! Who else is there, as peers say.
//!
//! Each beat has a hash over the addresses of all live instances that its sender knows. Who knows others asks for their
//! addresses, one peer at a time, so that a newcomer learns everybody from the first one it meets, and a hundred peers
//! that all know the same do not each tell it.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use super::Node;
use crate::{
    Now,
    identity::{Address, NodeId},
    merkle::{hash, mix},
    wire::MEMBERS_MAX,
};

/// Live peers, as others are told of them.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// The address that each live peer is told by.
    live: BTreeMap<Address, NodeId>,
    /// The sum of their hashes.
    sum: u64,
    /// Addresses that instances advertise, dialled or not.
    advertised: BTreeMap<Address, NodeId>,
    /// When a peer was asked last, and how long none is asked after that.
    asked_at: Option<Duration>,
    wait: Duration,
}

// === impl Members ===

impl Members {
    /// A peer is live.
    pub(super) fn joined(&mut self, id: NodeId, address: Option<&Address>) {
        if let Some(address) = address
            && self.live.insert(address.clone(), id).is_none()
        {
            self.sum = self.sum.wrapping_add(hash_of(address));
            self.wait = Duration::ZERO;
        }
    }

    /// A peer is not live any more.
    pub(super) fn parted(&mut self, id: NodeId, address: Option<&Address>) {
        let Some(address) = address.filter(|address| self.live.get(*address) == Some(&id)) else { return };
        self.live.remove(address);
        self.sum = self.sum.wrapping_sub(hash_of(address));
    }

    /// An instance advertises other addresses than before.
    pub(super) fn advertises(&mut self, id: NodeId, before: &[Address], now: &[Address]) {
        for address in before.iter().filter(|address| !now.contains(address)) {
            if self.advertised.get(address) == Some(&id) {
                self.advertised.remove(address);
            }
        }
        self.advertised.extend(now.iter().map(|address| (address.clone(), id)));
    }
}

fn hash_of(address: &Address) -> u64 {
    mix(hash(address.as_str().as_bytes()))
}

// === impl Node ===

impl Node {
    /// The hash over the addresses of all live instances that are known, this one among them. A sum, so that each can be
    /// put in and taken out.
    pub(super) fn members_hash(&self) -> u64 {
        let own = self.settings.addresses.first().map_or(0, hash_of);
        self.members.sum.wrapping_add(own)
    }

    /// Asks a peer whom it knows, if its beat says that it knows others. While that stays so it is asked ever less often:
    /// perhaps there is one that only it can reach.
    pub(super) fn compare_members(&mut self, now: Now, id: NodeId, theirs: u64) {
        let (heartbeat, gossip) = (self.settings.heartbeat, self.settings.gossip);
        let wait = self.members.wait.max(heartbeat);
        let is_due = self.members.asked_at.is_none_or(|at| now.elapsed >= at + wait);
        if is_due && theirs != self.members_hash() {
            self.members.asked_at = Some(now.elapsed);
            self.members.wait = (wait * 2).min(gossip.max(heartbeat));
            self.ask_members(now, id, None);
        }
    }

    /// A peer says where others are.
    pub(super) fn take_members(&mut self, now: Now, from: NodeId, addresses: &[Address]) {
        for address in addresses {
            let is_known = self.members.advertised.contains_key(address);
            if !is_known && !self.settings.addresses.contains(address) {
                self.learn(now, address, false);
            }
        }
        let is_full = self.targets.len() >= self.settings.members_max * 2;
        if let Some(last) = addresses.last().filter(|_| addresses.len() == MEMBERS_MAX && !is_full) {
            self.ask_members(now, from, Some(last.clone()));
        }
    }

    /// Where live peers are, in order, after one of them.
    pub(super) fn members_after(&self, after: Option<&Address>) -> Vec<Address> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let members = self.members.live.range::<Address, _>((start, Bound::Unbounded));
        members.take(MEMBERS_MAX).map(|(address, _)| address.clone()).collect()
    }
}
