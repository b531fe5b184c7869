//! How many proxies the connected subscribers need.
//!
//! More come as soon as they are needed. One goes only when fewer have been enough for a whole period, so that a wave of reconnects, which
//! every change causes, does not swing the number; and what remains can hold everybody.

use std::collections::VecDeque;

use crate::crd::Autoscaling;

/// How many looks are remembered at most.
const LOOKS_MAX: usize = 20_000;

/// What is seen of a cluster at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Seconds, from any start.
    pub at: i64,
    /// How many pods there are to be at present.
    pub replicas: i32,
    /// How many of them are ready.
    pub ready: i32,
    /// How many subscribers all pods that answered have together.
    pub connections: i64,
    /// Whether all ready pods answered.
    pub is_complete: bool,
}

/// A change of the number of proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// How many there are to be.
    pub replicas: i32,
    /// Why.
    pub reason: String,
}

/// What is remembered of a cluster between looks.
#[derive(Debug, Default)]
pub struct Memory {
    /// What was needed when: the largest first, each later than the one before and smaller.
    peaks: VecDeque<(i64, i32)>,
    /// Since when looks are complete, one after the other.
    watched_since: Option<i64>,
    /// When the number was last changed.
    changed_at: Option<i64>,
}

// === impl Memory ===

impl Memory {
    /// Takes in a look; says what to change, if anything.
    pub fn decide(&mut self, settings: &Autoscaling, look: Look) -> Option<Decision> {
        let needed = needed(settings, look.connections);
        self.remember(settings, look, needed);
        if look.replicas == 0 {
            return None;
        }
        let bounded = look.replicas.clamp(settings.min_replicas, settings.max_replicas);
        if bounded != look.replicas {
            let reason = format!(
                "{} proxies are not within {} and {}",
                look.replicas, settings.min_replicas, settings.max_replicas
            );
            return Some(self.change(look.at, bounded, reason));
        }
        if needed > look.replicas {
            let reason = format!(
                "{} subscribers need {needed} proxies of {} each",
                look.connections, settings.target_connections
            );
            return Some(self.change(look.at, needed, reason));
        }
        let peak = self.peaks.front().map_or(needed, |(_, peak)| *peak);
        if peak >= look.replicas || !self.may_shrink(settings, look) {
            return None;
        }
        let reason = format!(
            "{} subscribers have needed {peak} proxies at most for {} s",
            look.connections, settings.scale_down_after_seconds
        );
        Some(self.change(look.at, look.replicas - 1, reason))
    }

    fn remember(&mut self, settings: &Autoscaling, look: Look, needed: i32) {
        if look.is_complete {
            self.watched_since.get_or_insert(look.at);
        } else {
            self.watched_since = None;
        }
        while self.peaks.back().is_some_and(|(_, peak)| *peak <= needed) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((look.at, needed));
        let start = look.at - settings.scale_down_after_seconds;
        while self.peaks.front().is_some_and(|(at, _)| *at < start) || self.peaks.len() > LOOKS_MAX {
            self.peaks.pop_front();
        }
    }

    /// Whether a whole period has been seen since the last change, and everything is well.
    fn may_shrink(&self, settings: &Autoscaling, look: Look) -> bool {
        let is_past = |since: Option<i64>| {
            since.is_some_and(|since| look.at - since >= settings.scale_down_after_seconds)
        };
        is_past(self.watched_since)
            && (self.changed_at.is_none() || is_past(self.changed_at))
            && look.ready == look.replicas
    }

    fn change(&mut self, at: i64, replicas: i32, reason: String) -> Decision {
        self.changed_at = Some(at);
        Decision { replicas, reason }
    }
}

fn needed(settings: &Autoscaling, connections: i64) -> i32 {
    let target = settings.target_connections.max(1);
    let needed = connections.max(0).saturating_add(target - 1) / target;
    i32::try_from(needed).unwrap_or(i32::MAX).clamp(settings.min_replicas, settings.max_replicas)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Autoscaling = Autoscaling {
        min_replicas: 1,
        max_replicas: 6,
        target_connections: 100,
        scale_down_after_seconds: 60,
    };

    /// One look each second; returns the numbers that were set and when.
    fn run(replicas: &mut i32, memory: &mut Memory, from: i64, connections: &[i64]) -> Vec<(i64, i32)> {
        let mut changes = Vec::new();
        for (at, connections) in (from..).zip(connections) {
            let look = Look {
                at,
                replicas: *replicas,
                ready: *replicas,
                connections: *connections,
                is_complete: true,
            };
            if let Some(decision) = memory.decide(&SETTINGS, look) {
                *replicas = decision.replicas;
                changes.push((at, decision.replicas));
            }
        }
        changes
    }

    #[test]
    fn up_at_once_and_down_slowly_one_by_one() {
        let (mut replicas, mut memory) = (2, Memory::default());
        assert_eq!(run(&mut replicas, &mut memory, 0, &[150, 401]), [(1, 5)]);
        let quiet = vec![120; 300];
        let changes = run(&mut replicas, &mut memory, 2, &quiet);
        assert_eq!(changes, [(62, 4), (122, 3), (182, 2)], "and two hold 120 subscribers");
    }

    #[test]
    fn a_short_dip_changes_nothing() {
        let (mut replicas, mut memory) = (3, Memory::default());
        let waves: Vec<i64> = (0..600).map(|at| if at % 50 == 0 { 290 } else { 10 }).collect();
        assert_eq!(run(&mut replicas, &mut memory, 0, &waves), []);
    }

    #[test]
    fn the_bounds_hold() {
        let (mut replicas, mut memory) = (9, Memory::default());
        assert_eq!(run(&mut replicas, &mut memory, 0, &[10_000]), [(0, 6)]);
        let mut none = 0;
        assert_eq!(
            run(&mut none, &mut memory, 1, &[10_000]),
            [],
            "a cluster that was put to sleep stays asleep"
        );
    }

    #[test]
    fn pods_that_do_not_answer_or_are_not_ready_keep_the_number() {
        let mut memory = Memory::default();
        let look = |at, is_complete, ready| Look { at, replicas: 4, ready, connections: 0, is_complete };
        for at in 0..200 {
            assert_eq!(memory.decide(&SETTINGS, look(at, false, 4)), None);
        }
        for at in 200..400 {
            assert_eq!(memory.decide(&SETTINGS, look(at, true, 3)), None);
        }
        assert!(memory.decide(&SETTINGS, look(400, true, 4)).is_some_and(|decision| decision.replicas == 3));
    }
}
