//! Subscribers that do not read as fast as their topic is published to.

use super::{
    conn::Hole,
    settings::Backpressure,
    shard::Shard,
    stats::{CutReason, Stats},
};
use crate::log::{Position, TopicLog};

// === impl Shard ===

impl Shard {
    /// Applies the backpressure policy to those who have more than a full queue waiting.
    pub(super) fn enforce_lag(&mut self, local: u32) {
        let limit = self.settings.queue_events;
        let now = self.now();
        let entry = &self.locals[local as usize];
        let head = entry.at;
        let (mut stuck, mut cut) = (Vec::new(), Vec::new());
        for member in &entry.members {
            let sub = &mut self.subs[*member as usize];
            let conn = &mut self.conns[sub.conn as usize];
            if !conn.blocked || queued(sub.cursor, sub.hole.as_deref(), head) <= limit {
                continue;
            }
            match self.settings.backpressure {
                Backpressure::Disconnect => cut.push(sub.conn),
                Backpressure::Block if conn.stuck_since == 0 => {
                    conn.stuck_since = now.max(1);
                    stuck.push(sub.conn);
                }
                Backpressure::Block => {}
                policy => {
                    let hole = entry
                        .topic
                        .read(|log| widen(policy, log, sub.cursor, sub.hole.as_deref(), limit, head));
                    let known = sub.hole.as_deref().map_or(0, |hole| hole.to.seq - hole.from.seq);
                    let dropped = hole.map_or(0, |hole| hole.to.seq - hole.from.seq);
                    Stats::add(&self.stats.dropped, dropped.saturating_sub(known));
                    if sub.hole.is_none() && self.log_budget > 0 {
                        self.log_budget -= 1;
                        tracing::warn!(address = %conn.address(), subject = conn.subject(), topic = %entry.topic.name(), policy = ?policy, "a subscriber does not keep up; events are dropped for it");
                    }
                    sub.hole = hole.map(Box::new);
                }
            }
        }
        for key in stuck {
            self.each_sub(key, |shard, topic| shard.count_stuck(topic, true));
        }
        for key in cut {
            self.cut_slow(key);
        }
    }

    /// Ends a subscriber that is too far behind.
    pub(super) fn cut_slow(&mut self, key: u32) {
        if self.log_budget > 0 {
            self.log_budget -= 1;
            let conn = &self.conns[key as usize];
            tracing::warn!(address = %conn.address(), subject = conn.subject(), "a subscriber does not keep up; it is disconnected");
        }
        self.doomed.push((key, CutReason::Slow));
    }

    /// Counts a topic's subscribers that are behind.
    pub(super) fn count_behind(&mut self, local: u32, behind: bool) {
        let entry = &mut self.locals[local as usize];
        entry.behind = if behind { entry.behind + 1 } else { entry.behind - 1 };
        // Counted for each shard, not each subscriber: only the first and the last matter.
        if entry.behind == u32::from(behind) {
            entry.topic.count_laggard(behind);
        }
    }

    /// Counts a topic's subscribers that publishers wait for.
    pub(super) fn count_stuck(&mut self, local: u32, stuck: bool) {
        let entry = &mut self.locals[local as usize];
        entry.stuck = if stuck { entry.stuck + 1 } else { entry.stuck - 1 };
        if entry.stuck == u32::from(stuck) {
            entry.topic.count_congested(stuck);
            if !stuck {
                self.hub.made_room();
            }
        }
    }
}

/// Events that wait for a subscriber.
fn queued(cursor: Position, hole: Option<&Hole>, head: Position) -> u64 {
    head.seq - cursor.seq - hole.map_or(0, |hole| hole.to.seq - hole.from.seq)
}

/// The hole that brings a queue back to `limit` events.
fn widen(
    policy: Backpressure,
    log: &TopicLog,
    cursor: Position,
    hole: Option<&Hole>,
    limit: u64,
    head: Position,
) -> Hole {
    if policy == Backpressure::DropOldest {
        return Hole { from: cursor, to: log.nth(head.seq - limit).max(cursor) };
    }
    // Once the queue has been full, nothing is added until what is in it has been read.
    let from = hole.map_or_else(|| log.nth(cursor.seq + limit), |hole| hole.from);
    Hole { from, to: head }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, Origin};

    fn log(events: u32) -> TopicLog {
        let mut log = TopicLog::default();
        for counter in 0..events {
            log.append(&EventId { ms: 1, counter, origin: Origin(0) }, b"data: x\n\n");
        }
        log
    }

    #[test]
    fn dropping_the_newest_keeps_what_is_queued() {
        let log = log(30);
        let at = |seq| log.nth(Position::default().seq + seq);
        let cursor = at(5);
        let hole = widen(Backpressure::DropNewest, &log, cursor, None, 10, at(20));
        assert_eq!(hole, Hole { from: at(15), to: at(20) });
        assert_eq!(queued(cursor, Some(&hole), at(20)), 10);
        let wider = widen(Backpressure::DropNewest, &log, at(8), Some(&hole), 10, at(30));
        assert_eq!(wider, Hole { from: at(15), to: at(30) });
    }

    #[test]
    fn dropping_the_oldest_keeps_the_newest() {
        let log = log(30);
        let at = |seq| log.nth(Position::default().seq + seq);
        let cursor = at(5);
        let hole = widen(Backpressure::DropOldest, &log, cursor, None, 10, at(20));
        assert_eq!(hole, Hole { from: cursor, to: at(10) });
        let wider = widen(Backpressure::DropOldest, &log, cursor, Some(&hole), 10, at(30));
        assert_eq!(wider, Hole { from: cursor, to: at(20) });
        assert_eq!(queued(cursor, Some(&wider), at(30)), 10);
    }
}
