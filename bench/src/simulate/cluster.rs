//! One simulated cluster, and what is measured on it.

use std::time::Duration;

use revenprox_mesh::node::Node;
use revenprox_mesh::sim::{Faults, Random, World, settings};

use super::population::Population;
use crate::error::{Result, failed};

/// Bytes a second of an instance's interface: 1 Gbit/s.
pub(crate) const RATE: u64 = 125_000_000;

/// What does not happen within this time is a failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// A cluster of which the last instance is not started at first.
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) population: Population,
    random: Random,
    /// Between two changes of subscriptions.
    pause: Duration,
}

/// How long it took until a new instance was part of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    /// Until it was a peer of all: from then on nothing passes it by.
    pub(crate) peer: Duration,
    /// Until it had the interest of all: from then on it forwards to no one in vain.
    pub(crate) knows: Duration,
}

/// What became of events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwards {
    pub(crate) published: usize,
    /// Pairs of an event and another instance that had no subscriber for it.
    pub(crate) without: usize,
    /// Of these, how many got it.
    pub(crate) wasted: u64,
    /// Deliveries that are missing or repeated.
    pub(crate) wrong: usize,
}

impl Cluster {
    /// A cluster whose subscribers change so many times a second.
    pub(crate) fn new(seed: u64, instances: usize, population: Population, changes: f64) -> Self {
        let mut settings = settings();
        settings.interest_capacity = 1_000_000;
        Self {
            world: World::new(seed, instances, settings, network()),
            population,
            random: Random::new(seed),
            pause: Duration::from_secs_f64(1.0 / changes.max(0.1)),
        }
    }

    /// Starts all but the last one. Returns when all knew all.
    pub(crate) fn start(&mut self) -> Result<Duration> {
        let others = self.world.len() - 1;
        for index in 0..others {
            self.world.start(index, &[0], 0);
            self.world.subscribe_all(index, self.population.topics_at(index));
        }
        // Looking at all pairs takes a while in a large cluster.
        let step = Duration::from_millis(if others < 200 { 50 } else { 1_000 });
        self.until(step, "the cluster to converge", |world| world.unconverged().is_empty())
    }

    /// Lets subscriptions change for a time. Returns bytes that each instance sent a second: the mean and the most.
    pub(crate) fn change(&mut self, time: Duration) -> (f64, f64) {
        let sent = |world: &World| -> Vec<u64> {
            (0..world.len()).map(|index| world.traffic.on_the_wire(index)).collect()
        };
        let before = sent(&self.world);
        let end = self.world.now() + time;
        while self.world.now() < end {
            self.change_one();
        }
        let rates = sent(&self.world).into_iter().zip(before).map(|(after, before)| (after - before) as f64);
        let rates: Vec<f64> = rates.map(|bytes| bytes / time.as_secs_f64()).collect();
        let running = (rates.len() - 1) as f64;
        (rates.iter().sum::<f64>() / running, rates.iter().copied().fold(0.0, f64::max))
    }

    /// Starts the last instance, which knows the first. Its subscribers are there once it is a peer of all.
    pub(crate) fn join(&mut self) -> Result<Joined> {
        let last = self.world.len() - 1;
        self.world.start(last, &[0], 0);
        let joined = self.joined(last)?;
        self.world.subscribe_all(last, self.population.topics_at(last));
        let step = Duration::from_millis(50);
        self.until(step, "the new instance to be known", |world| {
            (0..last).all(|index| world.knows(index, last))
        })?;
        Ok(joined)
    }

    /// Publishes events at random while subscriptions change.
    pub(crate) fn publish(&mut self, events: usize) -> Forwards {
        let (mut without, wasted) = (0, self.world.wasted());
        for _ in 0..events {
            let (topic, has) = self.population.pick(&mut self.random);
            let from = self.random.below(self.world.len());
            without += (0..has.len()).filter(|index| *index != from && !has[*index]).count();
            self.world.publish(from, topic);
            self.change_one();
        }
        self.world.run(Duration::from_secs(2));
        let wrong = self.world.deliveries().len();
        Forwards { published: events, without, wasted: self.world.wasted() - wasted, wrong }
    }

    /// Bytes of the filters of others that an instance holds, on average.
    pub(crate) fn copies(&self) -> usize {
        let instances = self.world.len();
        let nodes = (0..instances).filter_map(|index| self.world.node(index));
        nodes.map(Node::copies_bytes).sum::<usize>() / instances
    }

    fn change_one(&mut self) {
        let change = self.population.change(&mut self.random);
        if let Some((index, topic)) = change.ended {
            self.world.unsubscribe(index, topic);
        }
        if let Some((index, topic)) = change.begun {
            self.world.subscribe(index, topic);
        }
        self.world.run(self.pause);
    }

    fn joined(&mut self, last: usize) -> Result<Joined> {
        let step = Duration::from_millis(5);
        let others = last;
        let is_peer = |world: &World| world.node(last).is_some_and(|node| node.live() == others);
        let peer = self.until(step, "the new instance to be a peer of all", is_peer)?;
        let knows = self.until(step, "the new instance to know all", |world| {
            (0..others).all(|index| world.knows(last, index))
        })?;
        Ok(Joined { peer, knows: peer + knows })
    }

    fn until(&mut self, step: Duration, what: &str, done: impl Fn(&World) -> bool) -> Result<Duration> {
        let start = self.world.now();
        while !done(&self.world) {
            if self.world.now() > start + PATIENCE {
                return Err(failed(format!("waited {PATIENCE:?} of simulated time in vain for {what}")));
            }
            self.world.run(step);
        }
        Ok(self.world.now().saturating_sub(start))
    }
}

/// A new instance among others that have no links to each other, so that filters of full size fit into memory for any
/// number of them: for the new one it is the same.
pub(crate) fn join_star(seed: u64, population: Population) -> Result<(Joined, Cluster)> {
    let instances = population.instances();
    let mut cluster = Cluster::new(seed, instances, population, 1.0);
    cluster.world.settings_mut().members_max = 1;
    let last = instances - 1;
    for index in 0..last {
        cluster.world.start(index, &[], 0);
        cluster.world.subscribe_all(index, cluster.population.topics_at(index));
    }
    cluster.world.settings_mut().members_max = settings().members_max;
    cluster.world.start(last, &(0..last).collect::<Vec<_>>(), 0);
    let joined = cluster.joined(last)?;
    Ok((joined, cluster))
}

/// A local network.
fn network() -> Faults {
    let delay = Duration::from_micros(250);
    Faults { delay, jitter: delay, rate: Some(RATE), ..Faults::none() }
}
