//! Who subscribes to what, and where.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use revenprox_mesh::identity::TopicId;
use revenprox_mesh::merkle::mix;
use revenprox_mesh::sim::Random;

/// Subscribers of each topic that has some; in an order that is the same in every run.
type Counts = HashMap<u32, u32, BuildHasherDefault<DefaultHasher>>;

/// Subscribers spread at random over topics and instances.
pub(crate) struct Population {
    topics: u32,
    subscribers: Vec<(usize, u32)>,
    counts: Vec<Counts>,
}

/// What the change of one subscription does to the interests of instances.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    /// The last subscriber of a topic left an instance.
    pub(crate) ended: Option<(usize, TopicId)>,
    /// The first one came.
    pub(crate) begun: Option<(usize, TopicId)>,
}

impl Population {
    pub(crate) fn new(random: &mut Random, instances: usize, topics: u32, subscribers: usize) -> Self {
        let subscribers: Vec<_> =
            (0..subscribers).map(|_| (random.below(instances), below(random, topics))).collect();
        let mut counts = vec![Counts::default(); instances];
        for (instance, topic) in &subscribers {
            *counts[*instance].entry(*topic).or_default() += 1;
        }
        Self { topics, subscribers, counts }
    }

    pub(crate) fn len(&self) -> usize {
        self.subscribers.len()
    }

    pub(crate) fn instances(&self) -> usize {
        self.counts.len()
    }

    /// The topics with subscribers at an instance.
    pub(crate) fn topics_at(&self, instance: usize) -> impl Iterator<Item = TopicId> + '_ {
        self.counts[instance].keys().map(|topic| id(*topic))
    }

    /// How many topics have subscribers at an instance, on average.
    pub(crate) fn mean_topics(&self) -> usize {
        self.counts.iter().map(HashMap::len).sum::<usize>() / self.counts.len()
    }

    /// A topic at random, and at which instances it has subscribers.
    pub(crate) fn pick(&self, random: &mut Random) -> (TopicId, Vec<bool>) {
        let topic = below(random, self.topics);
        (id(topic), self.counts.iter().map(|counts| counts.contains_key(&topic)).collect())
    }

    /// One subscriber leaves, and another comes to a topic and an instance at random.
    pub(crate) fn change(&mut self, random: &mut Random) -> Change {
        if self.subscribers.is_empty() {
            return Change::default();
        }
        let which = random.below(self.subscribers.len());
        let new = (random.below(self.counts.len()), below(random, self.topics));
        let (instance, topic) = std::mem::replace(&mut self.subscribers[which], new);
        let left = self.counts[instance].entry(topic).and_modify(|count| *count -= 1).or_default();
        let ended = (*left == 0).then_some((instance, id(topic)));
        if ended.is_some() {
            self.counts[instance].remove(&topic);
        }
        let count = self.counts[new.0].entry(new.1).or_default();
        *count += 1;
        Change { ended, begun: (*count == 1).then_some((new.0, id(new.1))) }
    }
}

fn below(random: &mut Random, end: u32) -> u32 {
    u32::try_from(random.below(end as usize)).expect("a number below a u32")
}

/// A topic's id, as well spread as the hash of a name.
fn id(topic: u32) -> TopicId {
    let low = mix(u64::from(topic));
    TopicId(u128::from(mix(low)) << 64 | u128::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_the_counts() {
        let mut random = Random::new(1);
        let mut population = Population::new(&mut random, 3, 50, 100);
        let mut topics: Vec<std::collections::BTreeSet<_>> =
            (0..3).map(|instance| population.topics_at(instance).collect()).collect();
        for _ in 0..1_000 {
            let change = population.change(&mut random);
            if let Some((instance, topic)) = change.ended {
                assert!(topics[instance].remove(&topic));
            }
            if let Some((instance, topic)) = change.begun {
                assert!(topics[instance].insert(topic));
            }
        }
        assert_eq!(population.len(), 100);
        for (instance, expected) in topics.iter().enumerate() {
            assert_eq!(population.topics_at(instance).collect::<std::collections::BTreeSet<_>>(), *expected);
        }
    }
}
