//! What was promised to whom, and what was not kept.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
    time::Duration,
};

use revenprox_mesh::merkle::mix;
use tokio::time::Instant;

use super::network::Run;

/// An instance that lives for so long after it accepted an event has brought it to others, whatever the network does.
const BROUGHT: Duration = Duration::from_secs(20);

/// A subscribe waits for so long at most until others know of it; what is published meanwhile may pass it by.
const ANNOUNCED: Duration = Duration::from_secs(1);

/// As long after a cut what passed by may still be on its way, and come in another order than elsewhere.
const MENDED: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Default)]
pub(super) struct Oracle {
    events: Vec<Published>,
    killed: BTreeMap<Run, Instant>,
    /// When instances did not hear each other, and for a while after that.
    cuts: Vec<(Instant, Instant)>,
    subscribers: Vec<Seen>,
    trace: u64,
    pub(super) counts: Counts,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) replicated: u64,
    pub(super) delivered: u64,
    pub(super) visits: u64,
    pub(super) gaps: u64,
    /// Deliveries again that the subscriber's instance knew it could not exclude.
    pub(super) again: u64,
    pub(super) kills: u64,
    pub(super) drains: u64,
    pub(super) cuts: u64,
    pub(super) steps: u64,
}

struct Published {
    topic: usize,
    at: Instant,
    by: Run,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has been told yet that it was taken.
    Sent,
    Accepted,
    Replicated,
}

#[derive(Default)]
struct Seen {
    topic: usize,
    since: Option<Instant>,
    events: HashSet<u64>,
    gaps: Vec<Instant>,
    repeated: BTreeSet<u64>,
}

// === impl Counts ===

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            published: self.published + other.published,
            replicated: self.replicated + other.replicated,
            delivered: self.delivered + other.delivered,
            visits: self.visits + other.visits,
            gaps: self.gaps + other.gaps,
            again: self.again + other.again,
            kills: self.kills + other.kills,
            drains: self.drains + other.drains,
            cuts: self.cuts + other.cuts,
            steps: self.steps + other.steps,
        }
    }
}

// === impl Oracle ===

impl Oracle {
    /// One more subscriber, of one topic.
    pub(super) fn subscriber(&mut self, topic: usize) -> usize {
        self.subscribers.push(Seen { topic, ..Seen::default() });
        self.subscribers.len() - 1
    }

    /// A publisher sends an event. Returns its number.
    pub(super) fn sent(&mut self, topic: usize, by: Run) -> u64 {
        self.counts.published += 1;
        self.events.push(Published { topic, at: Instant::now(), by, state: State::Sent });
        self.events.len() as u64 - 1
    }

    pub(super) fn accepted(&mut self, number: u64) {
        self.event(number).state = State::Accepted;
    }

    pub(super) fn replicated(&mut self, number: u64) {
        self.counts.replicated += 1;
        self.event(number).state = State::Replicated;
    }

    pub(super) fn killed(&mut self, run: Run) {
        self.killed.insert(run, Instant::now());
    }

    /// Some instances have not heard each other since then.
    pub(super) fn cut(&mut self, since: Instant) {
        self.cuts.push((since, Instant::now() + MENDED));
    }

    /// A subscriber has a place: it is owed what is published from now on.
    pub(super) fn placed(&mut self, subscriber: usize) {
        self.subscribers[subscriber].since.get_or_insert_with(Instant::now);
    }

    /// A subscriber got an event. `expected` says that its instance told that it may send some again.
    pub(super) fn saw(&mut self, subscriber: usize, number: u64, expected: bool) {
        self.counts.delivered += 1;
        self.trace = mix(self.trace ^ mix(number) ^ (subscriber as u64) << 48);
        let seen = &mut self.subscribers[subscriber];
        if !seen.events.insert(number) {
            let at = self.events[usize::try_from(number).expect("it is the number of an event")].at;
            let around = |(from, to): &(Instant, Instant)| (*from..*to).contains(&(at + ANNOUNCED));
            if expected || self.cuts.iter().any(around) {
                self.counts.again += 1;
            } else {
                seen.repeated.insert(number);
            }
        }
    }

    /// A subscriber was told that something may be missing.
    pub(super) fn gap(&mut self, subscriber: usize) {
        self.counts.gaps += 1;
        self.subscribers[subscriber].gaps.push(Instant::now());
    }

    /// Stands for everything that anybody got, in order.
    pub(super) fn trace(&self) -> u64 {
        self.trace
    }

    /// What was not kept, as text; nothing if all was.
    pub(super) fn verdict(&self, began: Instant) -> String {
        let mut text = String::new();
        for (index, seen) in self.subscribers.iter().enumerate() {
            for (number, event) in self.events.iter().enumerate() {
                let number = number as u64;
                if self.is_owed(seen, event) && !seen.events.contains(&number) {
                    let at = (event.at - began).as_secs_f64();
                    let (state, by) = (event.state, event.by);
                    let _ = writeln!(
                        text,
                        "subscriber {index} of topic {} misses event {number}, {state:?} by {by:?} at {at:.3} s",
                        seen.topic
                    );
                }
            }
            if !seen.repeated.is_empty() {
                let _ = writeln!(
                    text,
                    "subscriber {index} of topic {} got twice: {:?}",
                    seen.topic, seen.repeated
                );
            }
        }
        text
    }

    fn is_owed(&self, seen: &Seen, event: &Published) -> bool {
        let dies = self.killed.get(&event.by).copied();
        let lasts = match event.state {
            State::Sent => false,
            State::Accepted => dies.is_none_or(|at| at > event.at + BROUGHT),
            State::Replicated => true,
        };
        let after = seen.since.is_some_and(|since| event.at > since + ANNOUNCED);
        lasts && after && event.topic == seen.topic && !seen.gaps.iter().any(|gap| *gap >= event.at)
    }

    fn event(&mut self, number: u64) -> &mut Published {
        &mut self.events[usize::try_from(number).expect("it is the number of an event")]
    }
}
