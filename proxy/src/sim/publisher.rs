//! Publishers.

use std::{sync::Arc, time::Duration};

use revenprox_mesh::sim::Random;
use tokio::time::sleep;

use super::{clock, instance::Instance, trace, world::World};
use crate::log::Kept;

/// Between two events, at most.
const PAUSE: Duration = Duration::from_millis(1_500);

/// How many events follow each other without a pause, at most.
const BURST: usize = 4;

/// How long a keeper may take.
const REPLICATED: Duration = Duration::from_secs(5);

/// Publishes until the world is to be quiet.
pub(super) async fn run(world: Arc<World>, mut random: Random) {
    while !world.is_quiet() {
        sleep(random.time(PAUSE)).await;
        let topic = random.below(world.topics.len());
        let replicated = random.chance(0.5);
        for _ in 0..=random.below(BURST) {
            let Some(instance) = world.pick(&mut random) else { break };
            let mut gone = instance.killed.subscribe();
            tokio::select! {
                biased;
                // It dies before it answers.
                _ = gone.wait_for(|gone| *gone) => {}
                () = clock::on(&instance.wall, publish(&world, &instance, topic, replicated)) => {}
            }
        }
    }
}

async fn publish(world: &World, instance: &Instance, topic: usize, replicated: bool) {
    let number = world.oracle.lock().sent(topic, instance.me);
    let after_id = format!("data: {number}\n\n").into_bytes();
    let name = &world.topics[topic];
    let Ok(id) = instance.hub.publish(&instance.hub.topic(name), &after_id).await else { return };
    trace::tell(|| format!("{number} is published at {:?} as {id}", instance.me));
    if !replicated {
        return world.oracle.lock().accepted(number);
    }
    if instance.mesh.replicate(name, Kept { id, after_id }, REPLICATED).await {
        world.oracle.lock().replicated(number);
    }
}
