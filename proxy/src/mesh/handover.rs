//! Moving history to those who keep it from now on, when instances come and go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use revenprox_mesh::{
    identity::{NodeId, TopicId},
    keepers::keepers,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{Mesh, convert, keeping, questions, repair::ago};
use crate::{
    event::EventId,
    hub::{Holding, Hub, Topic},
    log::TopicLog,
};

/// How long to wait after a change, for instances that start or end together.
const SETTLE: Duration = Duration::from_millis(500);

/// How much is moved in a second, so that moving does not slow delivery down.
const BYTES_PER_SECOND: f64 = 32.0 * 1024.0 * 1024.0;

/// How much of one topic is moved: its newest events, in one message.
const TOPIC_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How far back subscribers get what passed by while instances did not hear each other.
const AFTER_A_BREAK: Duration = Duration::from_mins(10);

/// How far back they get what an instance that died had told some and not others. Longer than its death goes unnoticed.
const AFTER_A_DEATH: Duration = Duration::from_mins(1);

/// An instance that started so recently may meet others one by one, and has missed at each what was published before.
const YOUNG: Duration = Duration::from_mins(1);

/// How far back it asks those that it has met before for what has come to them meanwhile.
const BETWEEN_MEETINGS: Duration = Duration::from_secs(20);

/// How long a new keeper may take to accept a topic.
pub(super) const HAND_TIME: Duration = Duration::from_secs(2);

/// What is to be moved, and what has been.
#[derive(Debug, Default)]
pub(super) struct Moves {
    pending: Mutex<Pending>,
    news: Notify,
    topics: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
}

/// Peers, each at most once.
#[derive(Debug, Default)]
struct Pending {
    came: Vec<NodeId>,
    /// Something may have passed by in this time.
    repair: Option<Duration>,
    /// And the id above which they want what they keep.
    asked_by: Vec<(NodeId, EventId)>,
}

/// To whom an instance moves a topic when the members change: to keepers that were none before, if it is the first of the
/// earlier keepers that is still there, or if none of them is.
pub(super) fn targets(
    topic: TopicId,
    own: NodeId,
    old: &[NodeId],
    new: &[NodeId],
    count: usize,
) -> Vec<NodeId> {
    let before = keepers(topic, old.iter().copied(), count);
    let first = before.iter().find(|keeper| **keeper == own || new.contains(keeper));
    if first.is_some_and(|first| *first != own) {
        return Vec::new();
    }
    let mut after = keepers(topic, new.iter().copied(), count);
    after.retain(|keeper| *keeper != own && !before.contains(keeper));
    after
}

// === impl Moves ===

impl Moves {
    fn tell(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.pending.lock());
        self.news.notify_one();
    }
}

// === impl Mesh ===

impl Mesh {
    /// Moves history when members have gone, and asks those that have come for what this instance keeps from now on, until
    /// it is dropped. Whoever comes asks everybody, so that nobody has to guess since when it is known to whom.
    pub async fn hand_over(self: Arc<Self>, hub: Arc<Hub>) {
        let mut old = self.node.lock().roster().members.clone();
        loop {
            self.moves.news.notified().await;
            sleep(SETTLE).await;
            let Pending { came, repair, asked_by } = std::mem::take(&mut *self.moves.pending.lock());
            let new = self.node.lock().roster().members.clone();
            let own = self.node.lock().id();
            // After a break nothing that was handed over before it is vouched for any more.
            let broke = repair >= Some(AFTER_A_BREAK);
            let others = new.iter().copied().filter(|id| *id != own);
            let (asked, again): (Vec<_>, Vec<_>) = others.partition(|id| broke || came.contains(id));
            for peer in asked.iter().copied() {
                let heard = self.ask_for_mine(peer, EventId::default()).await;
                if !heard && self.settling.is_owed_by(peer) {
                    self.moves.tell(|pending| pending.came.push(peer));
                }
            }
            if !asked.is_empty() && self.started.elapsed() < YOUNG {
                // Those that came just now sent to others, and not here, until they knew of this instance.
                for peer in again {
                    self.ask_for_mine(peer, ago(BETWEEN_MEETINGS)).await;
                }
            }
            if let Some(since) = repair {
                self.repair(&hub, since, &asked).await;
            }
            let left: Vec<_> = old.iter().copied().filter(|id| new.contains(id)).collect();
            self.move_topics(&hub, &old, &left, EventId::default()).await;
            for (peer, from) in asked_by {
                let before: Vec<_> = new.iter().copied().filter(|id| *id != peer).collect();
                self.move_topics(&hub, &before, &new, from).await;
                self.say_handed(peer, HAND_TIME).await;
            }
            old = new;
        }
    }

    /// A peer has come, or come back.
    pub(super) fn peer_came(&self, peer: NodeId, is_new: bool) {
        self.settling.owes(peer);
        self.moves.tell(|pending| {
            pending.came.retain(|known| *known != peer);
            pending.came.push(peer);
            if !is_new {
                pending.repair = pending.repair.max(Some(AFTER_A_BREAK));
            }
        });
    }

    /// A peer has gone. If it did not say so, its last events may have reached some instances and not others.
    pub(super) fn peer_went(&self, peer: NodeId, said_so: bool) {
        self.settling.owes_nothing(peer);
        self.moves.tell(|pending| {
            if !said_so {
                pending.repair = pending.repair.max(Some(AFTER_A_DEATH));
            }
        });
    }

    /// A peer asks for what it keeps from now on, above an event.
    pub(super) fn asked_by(&self, peer: NodeId, from: EventId) {
        self.moves.tell(|pending| {
            if let Some((_, known)) = pending.asked_by.iter_mut().find(|(known, _)| *known == peer) {
                *known = from.min(*known);
            } else {
                pending.asked_by.push((peer, from));
            }
        });
    }

    /// Asks a peer for what this instance keeps instead of it, above an event. Returns whether it has heard that.
    async fn ask_for_mine(&self, peer: NodeId, from: EventId) -> bool {
        let mut question = vec![questions::MINE];
        keeping::put_id(from, &mut question);
        match self.ask(peer, &question) {
            Some(asked) => asked.within(HAND_TIME).await.is_some(),
            None => false,
        }
    }

    /// Moves what this instance keeps to those who keep it once it is gone.
    pub async fn hand_over_all(&self, hub: &Hub) {
        let old = self.node.lock().roster().members.clone();
        let own = self.node.lock().id();
        let new: Vec<_> = old.iter().copied().filter(|id| *id != own).collect();
        self.move_topics(hub, &old, &new, EventId::default()).await;
    }

    /// Topics, and their bytes, that were moved, and topics that no new keeper took.
    pub(super) fn moved(&self) -> (u64, u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.moves.topics), load(&self.moves.bytes), load(&self.moves.failed))
    }

    async fn move_topics(&self, hub: &Hub, old: &[NodeId], new: &[NodeId], from: EventId) {
        let (own, count) = {
            let node = self.node.lock();
            (node.id(), node.keeper_count())
        };
        if count == 0 || old == new {
            return;
        }
        let before = self.moved();
        for stripe in 0..Hub::STRIPES {
            for topic in hub.topics_of(stripe) {
                let targets = targets(convert::to_mesh(topic.id()), own, old, new, count);
                if !targets.is_empty() {
                    self.move_topic(hub, &topic, &targets, from).await;
                }
            }
            tokio::task::yield_now().await;
        }
        let (topics, bytes, failed) = self.moved();
        tracing::info!(
            members = new.len(),
            topics = topics - before.0,
            bytes = bytes - before.1,
            failed = failed - before.2,
            "moved history to new keepers"
        );
    }

    async fn move_topic(&self, hub: &Hub, topic: &Topic, targets: &[NodeId], from: EventId) {
        let began = Instant::now();
        if topic.read(TopicLog::highest).flatten() <= Some(from) {
            return;
        }
        let holding = newest(above(hub.holding(topic.id()), from));
        let message = keeping::take_over(topic.name(), &holding);
        for target in targets {
            let taken = self.hand(*target, &message, Instant::now() + HAND_TIME).await.is_ok();
            let counter = if taken { &self.moves.topics } else { &self.moves.failed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let bytes = message.len() * targets.len();
        self.moves.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let allowed = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND);
        sleep(allowed.saturating_sub(began.elapsed())).await;
    }
}

/// The events above an id. What is below it is not vouched for then.
fn above(mut holding: Holding, from: EventId) -> Holding {
    holding.events.retain(|event| event.id > from);
    holding.floor = holding.floor.max(from);
    holding
}

/// The newest events that go into one message.
fn newest(mut holding: Holding) -> Holding {
    let mut bytes = 0;
    let fit = holding.events.iter().rev().take_while(|event| {
        bytes += event.after_id.len() + 16;
        bytes <= TOPIC_BYTES_MAX
    });
    let left_out = holding.events.len() - fit.count();
    let highest = holding.events.drain(..left_out).map(|event| event.id).max();
    holding.floor = holding.floor.max(highest.unwrap_or_default());
    holding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Origin, log::Kept};

    #[test]
    fn a_topic_is_moved_by_one_of_those_who_have_it() {
        let all: Vec<_> = (0..6).map(NodeId).collect();
        for n in 0..1_000_u128 {
            let topic = TopicId(n << 70 | n);
            for gone in 0..6 {
                let left: Vec<_> = all.iter().copied().filter(|id| id.0 != gone).collect();
                let before = keepers(topic, all.iter().copied(), 2);
                let moves: Vec<_> = left
                    .iter()
                    .map(|own| (own, targets(topic, *own, &all, &left, 2)))
                    .filter(|(_, t)| !t.is_empty())
                    .collect();
                assert_eq!(moves.len(), usize::from(before.contains(&NodeId(gone))));
                assert!(moves.iter().all(|(own, targets)| before.contains(own) && targets.len() == 1));
                // The same if it leaves on purpose, then by itself.
                let own = targets(topic, NodeId(gone), &all, &left, 2);
                assert!(own.is_empty() || before[0] == NodeId(gone));
            }
        }
    }

    #[test]
    fn what_is_too_much_is_left_out_and_said() {
        let event = |ms| Kept {
            id: EventId { ms, counter: 0, origin: Origin(1) },
            after_id: vec![b'x'; 1024 * 1024],
        };
        let holding = newest(Holding {
            floor: EventId::default(),
            former: false,
            events: (1..=5).map(event).collect(),
        });
        assert_eq!((holding.events.len(), holding.floor), (2, event(3).id));
    }
}
