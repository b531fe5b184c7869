//! Subscribers, which come and go as they like and come back where they were.

use std::{sync::Arc, time::Duration};

use revenprox_mesh::sim::Random;
use tokio::time::{Instant, sleep};

use super::{
    clock,
    instance::Instance,
    stream::{self, Block},
    trace,
    world::World,
};
use crate::{
    event::Cursor,
    hub::{Since, Start},
};

/// How long a subscriber stays, at most.
const STAY: Duration = Duration::from_secs(40);

/// How long it is away, at most.
const AWAY: Duration = Duration::from_secs(3);

/// How long bytes are on their way to it, at most.
const LATENCY: Duration = Duration::from_millis(300);

/// As far back the digest of an event reaches, in milliseconds.
const LATE_MS: u64 = 8_000;

/// One subscriber of one topic.
pub(super) struct Subscriber {
    index: usize,
    topic: usize,
    last_id: Option<String>,
    random: Random,
}

// === impl Subscriber ===

impl Subscriber {
    pub(super) fn new(world: &World, topic: usize, random: Random) -> Self {
        let index = world.oracle.lock().subscriber(topic);
        Self { index, topic, last_id: None, random }
    }

    /// Comes and goes until it is dropped.
    pub(super) async fn run(mut self, world: Arc<World>) {
        loop {
            if let Some(instance) = world.pick(&mut self.random) {
                let mut gone = instance.gone.subscribe();
                let wall = Arc::clone(&instance.wall);
                tokio::select! {
                    biased;
                    _ = gone.wait_for(|gone| *gone) => {}
                    () = clock::on(&wall, self.visit(&world, &instance)) => {}
                }
            }
            sleep(self.random.time(AWAY)).await;
        }
    }

    async fn visit(&mut self, world: &World, instance: &Instance) {
        let leaves = Instant::now() + self.random.time(STAY);
        let start = match &self.last_id {
            Some(id) => Start::After(id.clone()),
            None => Start::Since(Since::Now),
        };
        world.oracle.lock().counts.visits += 1;
        trace::tell(|| {
            format!("subscriber {} comes to {:?} after {:?}", self.index, instance.me, self.last_id)
        });
        let topics = instance.arrival().prepare(&world.topics[self.topic..=self.topic], &start).await;
        let topic = &topics[0];
        let (_, again) = instance.hub.reordered();
        let (mut position, first) = instance.hub.enter(topic, &start, true);
        let may_repeat = instance.hub.reordered().1 > again;
        self.take(world, &stream::blocks(&first), may_repeat);
        while world.is_quiet() || Instant::now() < leaves {
            if let Some(view) = topic.view(position) {
                let bytes = view.parts().concat();
                position = view.head;
                self.take(world, &stream::blocks(&stream::unchunk(&bytes)), may_repeat);
            }
            sleep(self.random.time(LATENCY)).await;
        }
    }

    fn take(&mut self, world: &World, blocks: &[Block], may_repeat: bool) {
        let mut oracle = world.oracle.lock();
        for block in blocks {
            match (&block.event, &block.data) {
                (Some(event), _) if event == "revenprox-gap" => oracle.gap(self.index),
                (None, Some(data)) => {
                    let number = data.parse().expect("events are numbers");
                    trace::tell(|| format!("subscriber {} gets {number} {:?}", self.index, block.id));
                    let late = self.is_late(block.id.as_deref());
                    oracle.saw(self.index, number, may_repeat || late);
                }
                _ => {}
            }
            if let Some(id) = &block.id {
                self.last_id = Some(id.clone());
                oracle.placed(self.index);
            }
        }
    }

    /// Whether an event comes so long after those around it that nobody can tell whether it has been seen.
    fn is_late(&self, id: Option<&str>) -> bool {
        let ms =
            |id: Option<&str>| id.and_then(|id| id.parse::<Cursor>().ok()).map_or(0, |cursor| cursor.id.ms);
        ms(id) + LATE_MS <= ms(self.last_id.as_deref())
    }
}
