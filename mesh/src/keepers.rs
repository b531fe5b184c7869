//! Which instances keep a topic's history: those with the highest weight for it (rendezvous hashing, Thaler and Ravishankar,
//! 1998). Everybody who knows the same members finds the same keepers, and a member that comes or goes changes only the topics
//! that it keeps.

use std::collections::VecDeque;

use crate::identity::{NodeId, TopicId};

/// How many earlier sets of members are remembered.
const ROSTERS_MAX: usize = 64;

/// How many changes back those are looked for who kept a topic before, while it is being moved.
const CHANGES_AT_ONCE: usize = 4;

/// Members that meet do not know of each other at the same moment, but within this time.
const SETTLE_MS: u64 = 200;

/// The members that keep a topic, the first one first. `count` of them, or all if there are fewer.
pub fn keepers(topic: TopicId, members: impl IntoIterator<Item = NodeId>, count: usize) -> Vec<NodeId> {
    let mut first: Vec<(u64, NodeId)> = Vec::with_capacity(count.min(8) + 1);
    for member in members {
        let weighed = (weight(topic, member), member);
        let at = first.partition_point(|other| *other > weighed);
        if at < count {
            first.insert(at, weighed);
            first.truncate(count);
        }
    }
    first.into_iter().map(|(_, member)| member).collect()
}

/// Mixes both ids (the finalizer of `MurmurHash3`, twice).
fn weight(topic: TopicId, member: NodeId) -> u64 {
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("the rest is masked");
    mix(mix(half(topic.0 >> 64) ^ member.0) ^ half(topic.0))
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ x >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

/// Who was there since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// In milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Live members, this instance among them.
    pub members: Vec<NodeId>,
}

/// The sets of members there have been, the present one last.
#[derive(Debug)]
pub struct Rosters {
    own: NodeId,
    all: VecDeque<Roster>,
}

// === impl Rosters ===

impl Rosters {
    /// An instance alone.
    pub fn new(own: NodeId, now_ms: u64) -> Self {
        Self { own, all: [Roster { since_ms: now_ms, members: vec![own] }].into() }
    }

    /// The present members.
    pub fn now(&self) -> &Roster {
        self.all.back().expect("there always is one")
    }

    /// A member has come. If it has been there for longer than this instance knew, events may have passed by, and what was
    /// before is forgotten.
    pub fn joined(&mut self, id: NodeId, is_new: bool, now_ms: u64) {
        let mut members = self.now().members.clone();
        members.push(id);
        if is_new {
            return self.push(members, now_ms);
        }
        self.all.clear();
        self.push(members, now_ms + SETTLE_MS);
    }

    /// Events may have passed by this instance until now.
    pub fn passed_by(&mut self, now_ms: u64) {
        let members = self.now().members.clone();
        self.all.clear();
        self.push(members, now_ms + SETTLE_MS);
    }

    /// A member has gone.
    pub fn left(&mut self, id: NodeId, now_ms: u64) {
        let members = self.now().members.iter().copied().filter(|member| *member != id).collect();
        self.push(members, now_ms);
    }

    /// Since when this instance has been among the keepers of a topic without a break, if it is.
    pub fn kept_since(&self, topic: TopicId, count: usize) -> Option<u64> {
        let keeps =
            |roster: &&Roster| keepers(topic, roster.members.iter().copied(), count).contains(&self.own);
        self.all.iter().rev().take_while(keeps).last().map(|roster| roster.since_ms)
    }

    /// Since when this instance had kept a topic when it last did, now or before the latest changes.
    pub fn was_kept_since(&self, topic: TopicId, count: usize) -> Option<u64> {
        let keeps =
            |roster: &&Roster| keepers(topic, roster.members.iter().copied(), count).contains(&self.own);
        let lately = self.all.iter().rev().take(CHANGES_AT_ONCE).skip_while(|roster| !keeps(roster));
        lately.take_while(keeps).last()?;
        let last = self.all.iter().rev().skip_while(|roster| !keeps(roster));
        last.take_while(keeps).last().map(|roster| roster.since_ms)
    }

    /// The members that keep a topic, and those that did before the latest changes.
    pub fn present_and_former(&self, topic: TopicId, count: usize) -> (Vec<NodeId>, Vec<NodeId>) {
        let present = keepers(topic, self.now().members.iter().copied(), count);
        let mut former = Vec::new();
        for roster in self.all.iter().rev().skip(1).take(CHANGES_AT_ONCE) {
            for keeper in keepers(topic, roster.members.iter().copied(), count) {
                if !present.contains(&keeper)
                    && !former.contains(&keeper)
                    && self.now().members.contains(&keeper)
                {
                    former.push(keeper);
                }
            }
        }
        (present, former)
    }

    fn push(&mut self, members: Vec<NodeId>, since_ms: u64) {
        self.all.push_back(Roster { since_ms, members });
        if self.all.len() > ROSTERS_MAX {
            self.all.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u64) -> Vec<NodeId> {
        (0..count).map(|n| NodeId::of(&format!("proxy-{n}"))).collect()
    }

    fn topics() -> impl Iterator<Item = TopicId> {
        (0..10_000_u128).map(|n| TopicId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834)))
    }

    #[test]
    fn topics_are_spread_evenly() {
        let members = members(10);
        for own in &members {
            let kept = topics().filter(|t| keepers(*t, members.iter().copied(), 2).contains(own)).count();
            assert!((1_800..2_200).contains(&kept), "{own} keeps {kept} of 10,000 topics, not about 2,000");
        }
    }

    #[test]
    fn a_change_moves_only_what_it_must() {
        let all = members(10);
        let moved = topics().filter(|topic| {
            let before = keepers(*topic, all.iter().copied(), 2);
            let after = keepers(*topic, all[1..].iter().copied(), 2);
            let stayed: Vec<_> = before.iter().filter(|id| **id != all[0]).collect();
            assert!(stayed.iter().all(|id| after.contains(id)), "a keeper that stays stays a keeper");
            before != after
        });
        let moved = moved.count();
        assert!((1_800..2_200).contains(&moved), "{moved} topics moved");
    }

    #[test]
    fn there_are_as_many_as_are_asked_for_or_all() {
        let topic = TopicId(7);
        for count in 0..7 {
            let found = keepers(topic, members(5), count);
            assert_eq!(found.len(), count.min(5));
            assert_eq!(found, keepers(topic, members(5).into_iter().rev(), count), "whatever the order");
            assert!(keepers(topic, members(5), 9).starts_with(&found));
        }
    }

    #[test]
    fn keeping_begins_anew_after_a_break() {
        let all = members(3);
        let own = all[0];
        let topic = topics().find(|t| keepers(*t, all.iter().copied(), 1) == [own]).unwrap();
        let elsewhere = topics()
            .find(|t| {
                keepers(*t, all.iter().copied(), 1) == [all[1]] && keepers(*t, [own, all[2]], 1) == [own]
            })
            .unwrap();
        let mut rosters = Rosters::new(own, 10);
        rosters.joined(all[1], true, 20);
        rosters.joined(all[2], true, 30);
        assert_eq!((rosters.kept_since(topic, 1), rosters.kept_since(elsewhere, 1)), (Some(10), None));
        rosters.left(all[1], 40);
        assert_eq!((rosters.kept_since(topic, 1), rosters.kept_since(elsewhere, 1)), (Some(10), Some(40)));
        rosters.joined(all[1], false, 50);
        assert_eq!((rosters.kept_since(topic, 1), rosters.kept_since(elsewhere, 1)), (Some(250), None));
        assert_eq!(rosters.now().members.len(), 3);
        assert_eq!(rosters.was_kept_since(elsewhere, 1), None, "what was before is forgotten");
    }

    #[test]
    fn a_former_keeper_is_remembered_for_a_while() {
        let all = members(3);
        let own = all[0];
        let topic = topics()
            .find(|t| {
                keepers(*t, all.iter().copied(), 1) == [all[1]] && keepers(*t, [own, all[2]], 1) == [own]
            })
            .unwrap();
        let mut rosters = Rosters::new(own, 10);
        rosters.joined(all[2], true, 20);
        rosters.joined(all[1], true, 30);
        assert_eq!((rosters.kept_since(topic, 1), rosters.was_kept_since(topic, 1)), (None, Some(10)));
        assert_eq!(rosters.present_and_former(topic, 1), (vec![all[1]], vec![own]));
        for n in 4..9 {
            rosters.joined(NodeId(n), true, 40 + n);
        }
        assert_eq!(rosters.was_kept_since(topic, 1), None);
    }
}
