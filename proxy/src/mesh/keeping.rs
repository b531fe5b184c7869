//! Keeping history for each other: what is asked of keepers when a subscriber comes back, and what is handed over to them.

use std::{sync::Arc, time::Duration};

use futures_util::future::{join_all, select_ok};
use revenprox_mesh::{identity::NodeId, wire::Stamp};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Mesh, convert,
    questions::{HAS, HISTORY, TAKE_OVER},
};
use crate::{
    event::EventId,
    hub::{Holding, Hub, Topic},
    log::Kept,
    topic::{TopicId, TopicName},
};

/// About how many bytes of events one message brings.
const PAGE_BYTES: usize = 1024 * 1024;

/// How often a keeper is asked for the next page of one topic.
const PAGES_MAX: usize = 1024;

/// How many instances are asked for one topic's history, beside those that keep it.
const ASKED_MAX: usize = 16;

/// How much of the time for a fetch others may take to know that the topic is wanted here: one in so many.
const SETTLE_PART: u32 = 4;

/// When a keeper that does not have an event yet is asked again: soon, and then ever later.
const AGAIN: Duration = Duration::from_millis(1);
const AGAIN_MAX: Duration = Duration::from_millis(50);

/// Flags of an answer.
const MORE: u8 = 1;
const FORMER: u8 = 2;

const TAKEN: u8 = 1;
const BUSY: u8 = 0;

// === impl Mesh ===

impl Mesh {
    /// Fetches what others have kept of a topic and puts it in its place. Returns whether everything came in time. Many
    /// that come back to a topic at once wait for one fetch.
    pub async fn fill(&self, hub: &Hub, topic: &Arc<Topic>, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let fetch = async {
            let turn = self.fetching.turn(topic.id());
            let _turn = turn.lock().await;
            if !topic.can_fill() {
                return true;
            }
            // What is published until all forward here is among what they have, and what is published then comes by itself.
            self.settled(limit / SETTLE_PART).await;
            let (present, others) = self.who_may_have(topic.id());
            let is_present = |n: usize| n < present.len();
            let asked = present
                .iter()
                .chain(&others)
                .map(|peer| self.holding(*peer, topic.id(), EventId::default(), deadline));
            let fetched = join_all(asked).await;
            let all_present = fetched.iter().enumerate().all(|(n, got)| got.is_some() || !is_present(n));
            let holdings: Vec<_> = fetched.into_iter().flatten().collect();
            let in_time = present.is_empty() || !holdings.is_empty();
            self.fetching.ended(in_time);
            if !in_time {
                return false;
            }
            hub.fill(topic, union(holdings, all_present));
            true
        };
        timeout_at(deadline, fetch).await.unwrap_or(false)
    }

    /// Waits until a keeper on another instance has an event that was published here. `false` if none has it in time.
    ///
    /// It comes there on the link, like all events, since those of one instance must not overtake each other. Only to a keeper for
    /// which nothing is on its way, and which does not have it all the same, is it brought by itself.
    pub async fn replicate(&self, topic: &TopicName, event: Kept, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let id = TopicId::of(topic);
        let mut has = vec![HAS];
        has.extend_from_slice(&convert::to_mesh(id).0.to_le_bytes());
        put_id(event.id, &mut has);
        let floor = EventId::at(u64::MAX);
        let bring = take_over(topic, &Holding { floor, former: false, events: vec![event] });
        let try_all = async {
            let mut again = AGAIN;
            loop {
                let keepers = self.keepers(id);
                let asked: Vec<_> = keepers
                    .into_iter()
                    .map(|peer| {
                        let question = if self.is_done_with(peer) { &bring } else { &has };
                        Box::pin(self.hand(peer, question, deadline))
                    })
                    .collect();
                if !asked.is_empty() && select_ok(asked).await.is_ok() {
                    return;
                }
                sleep(again).await;
                again = (again * 2).min(AGAIN_MAX);
            }
        };
        timeout_at(deadline, try_all).await.is_ok()
    }

    /// Whether a peer has taken everything that was published here.
    fn is_done_with(&self, peer: NodeId) -> bool {
        self.node.lock().is_done_with(peer)
    }

    /// Other instances that keep a topic.
    fn keepers(&self, topic: TopicId) -> Vec<NodeId> {
        let node = self.node.lock();
        node.other_keepers(convert::to_mesh(topic)).0
    }

    /// Other instances that keep a topic; and some that did until lately, or have subscribers for it, or may have accepted what has
    /// not reached the keepers yet.
    pub(super) fn who_may_have(&self, topic: TopicId) -> (Vec<NodeId>, Vec<NodeId>) {
        let node = self.node.lock();
        let (present, mut others) = node.other_keepers(convert::to_mesh(topic));
        let members = node.roster().members.iter().copied().filter(|id| *id != node.id());
        for peer in node.interested(convert::to_mesh(topic)).into_iter().chain(members) {
            if others.len() < ASKED_MAX && !present.contains(&peer) && !others.contains(&peer) {
                others.push(peer);
            }
        }
        (present, others)
    }

    /// Events above `from` that others keep, or that some others have.
    pub(super) async fn kept_elsewhere(
        &self,
        topic: TopicId,
        from: EventId,
        limit: Duration,
        others: &[NodeId],
    ) -> Vec<Kept> {
        let deadline = Instant::now() + limit;
        let (mut present, _) = self.who_may_have(topic);
        present.extend(others.iter().filter(|other| !present.contains(other)).copied().collect::<Vec<_>>());
        let asked = present.iter().map(|peer| self.holding(*peer, topic, from, deadline));
        union(join_all(asked).await.into_iter().flatten().collect(), true).events
    }

    async fn holding(
        &self,
        peer: NodeId,
        topic: TopicId,
        from: EventId,
        deadline: Instant,
    ) -> Option<Holding> {
        let mut all = Holding::default();
        for _ in 0..PAGES_MAX {
            let mut question = vec![HISTORY];
            question.extend_from_slice(&convert::to_mesh(topic).0.to_le_bytes());
            put_id(from, &mut question);
            put_id(all.events.last().map_or(EventId::default(), |last| last.id), &mut question);
            let limit = deadline.saturating_duration_since(Instant::now());
            let answer = self.ask(peer, &question)?.within(limit).await?;
            let (more, holding) = decode_holding(&answer)?;
            all.floor = all.floor.max(holding.floor);
            all.former |= holding.former;
            let is_empty = holding.events.is_empty();
            all.events.extend(holding.events);
            if !more || is_empty {
                return Some(all);
            }
        }
        None
    }

    pub(super) async fn hand(&self, peer: NodeId, question: &[u8], deadline: Instant) -> Result<(), ()> {
        let limit = deadline.saturating_duration_since(Instant::now());
        let answer = self.ask(peer, question).ok_or(())?.within(limit).await.ok_or(())?;
        if answer == [TAKEN] { Ok(()) } else { Err(()) }
    }
}

/// All events, and the lowest floor: what is above the floor of one is complete there. What former keepers lack is with the
/// present ones, if these have answered.
fn union(holdings: Vec<Holding>, all_present: bool) -> Holding {
    let counts = holdings.iter().filter(|holding| all_present || !holding.former);
    let floor = counts.map(|holding| holding.floor).min().unwrap_or(EventId::at(u64::MAX));
    let events = holdings.into_iter().flat_map(|holding| holding.events).collect();
    Holding { floor, former: false, events }
}

/// The page of a topic's history above one event and behind another.
pub(super) fn answer_history(hub: &Hub, question: &[u8]) -> Option<Vec<u8>> {
    let (topic, rest) = question.split_first_chunk::<16>()?;
    let (from, rest) = take_id(rest)?;
    let (after, _) = take_id(rest)?;
    let topic = convert::to_topic(revenprox_mesh::identity::TopicId(u128::from_le_bytes(*topic)));
    let mut holding = hub.holding(topic);
    if let Some(at) = holding.events.iter().position(|event| event.id == after) {
        holding.events.drain(..=at);
    }
    holding.events.retain(|event| event.id > from);
    let mut bytes = 0;
    let within = holding.events.iter().take_while(|event| {
        bytes += event.after_id.len();
        bytes <= PAGE_BYTES
    });
    let count = within.count().max(1).min(holding.events.len());
    let more = count < holding.events.len();
    holding.events.truncate(count);
    let mut out = vec![if more { MORE } else { 0 } | if holding.former { FORMER } else { 0 }];
    encode_holding(&holding, &mut out);
    Some(out)
}

/// Says whether an event is here.
pub(super) fn answer_has(hub: &Hub, question: &[u8]) -> Option<Vec<u8>> {
    let (topic, rest) = question.split_first_chunk::<16>()?;
    let (id, _) = take_id(rest)?;
    let topic = convert::to_topic(revenprox_mesh::identity::TopicId(u128::from_le_bytes(*topic)));
    let has = hub.find(topic).and_then(|topic| topic.read(|log| log.contains(&id))).unwrap_or_default();
    Some(vec![if has { TAKEN } else { BUSY }])
}

/// Takes what another instance hands over.
pub(super) fn answer_take_over(hub: &Hub, question: &[u8]) -> Option<Vec<u8>> {
    let (topic, rest) = question.split_first_chunk::<16>()?;
    let (len, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*len))?;
    let topic = convert::to_topic(revenprox_mesh::identity::TopicId(u128::from_le_bytes(*topic)));
    let taken = hub.take_over(topic, name, decode_events(rest)?);
    Some(vec![if taken { TAKEN } else { BUSY }])
}

pub(super) fn take_over(topic: &TopicName, holding: &Holding) -> Vec<u8> {
    let mut out = vec![TAKE_OVER];
    out.extend_from_slice(&convert::to_mesh(TopicId::of(topic)).0.to_le_bytes());
    let name = topic.as_str().as_bytes();
    out.push(u8::try_from(name.len()).expect("names have at most 255 bytes"));
    out.extend_from_slice(name);
    encode_holding(holding, &mut out);
    out
}

fn encode_holding(holding: &Holding, out: &mut Vec<u8>) {
    put_id(holding.floor, out);
    for event in &holding.events {
        put_id(event.id, out);
        out.extend_from_slice(
            &u32::try_from(event.after_id.len()).expect("events are far below 4 GiB").to_le_bytes(),
        );
        out.extend_from_slice(&event.after_id);
    }
}

fn decode_holding(answer: &[u8]) -> Option<(bool, Holding)> {
    let (flags, rest) = answer.split_first()?;
    let holding = decode_events(rest)?;
    Some((flags & MORE != 0, Holding { former: flags & FORMER != 0, ..holding }))
}

fn decode_events(bytes: &[u8]) -> Option<Holding> {
    let (floor, mut rest) = take_id(bytes)?;
    let mut events = Vec::new();
    while !rest.is_empty() {
        let (id, after) = take_id(rest)?;
        let (len, after) = after.split_first_chunk::<4>()?;
        let (block, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        events.push(Kept { id, after_id: block.to_vec() });
        rest = after;
    }
    Some(Holding { floor, former: false, events })
}

pub(super) fn put_id(id: EventId, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.packed().to_le_bytes());
    out.extend_from_slice(&id.origin.0.to_le_bytes());
}

pub(super) fn take_id(bytes: &[u8]) -> Option<(EventId, &[u8])> {
    let (clock, rest) = bytes.split_first_chunk::<8>()?;
    let (origin, rest) = rest.split_first_chunk::<4>()?;
    let stamp = Stamp { clock: u64::from_le_bytes(*clock), origin: u32::from_le_bytes(*origin) };
    Some((convert::to_id(stamp), rest))
}
