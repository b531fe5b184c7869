//! A cluster from its start to its end, and what befalls it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use revenprox_mesh::sim::Random;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    clock::Wall,
    instance::{Instance, not_panicked},
    network::{Network, Weather},
    oracle::{Counts, Oracle},
    publisher,
    subscriber::Subscriber,
    trace,
};
use crate::topic::TopicName;

/// Between two faults: long enough for what one has broken to be whole again.
const CALM: Duration = Duration::from_secs(15);

/// How much longer it may be.
const CALM_MORE: Duration = Duration::from_secs(25);

/// After the last event, until everybody has to have everything.
const QUIET: Duration = Duration::from_secs(40);

/// By how much clocks are wrong, at most, in milliseconds.
const SKEW_MS: usize = 3_000;

/// How long a cut lasts, at most.
const CUT: Duration = Duration::from_secs(12);

/// How long an instance is away, at most.
const AWAY: Duration = Duration::from_secs(10);

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// How long things befall the cluster.
    pub(super) time: Duration,
    pub(super) faults: Faults,
}

/// What may befall a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faults {
    None,
    /// Instances end with and without a warning, clocks are wrong and are set, messages are late and lost.
    Ends,
    /// And some instances do not hear each other for a while.
    All,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) counts: Counts,
    pub(super) trace: u64,
    /// What was promised and not kept.
    pub(super) broken: String,
}

/// See the module.
pub(super) struct World {
    pub(super) topics: Vec<TopicName>,
    pub(super) oracle: Mutex<Oracle>,
    instances: Mutex<Vec<Option<Arc<Instance>>>>,
    network: Arc<Network>,
    quiet: AtomicBool,
}

/// Those who decide what happens.
struct Fate {
    world: Arc<World>,
    random: Random,
    clocks: Vec<Arc<Wall>>,
    runs: u64,
}

/// Simulates a cluster.
pub(super) fn simulate(plan: Plan) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O needs nothing").block_on(run(plan))
}

async fn run(plan: Plan) -> Outcome {
    let began = Instant::now();
    let mut random = Random::new(plan.seed);
    let size = 3 + random.below(4);
    let weather = if plan.faults == Faults::None {
        Weather { delay: Duration::from_millis(5), loss: 0.0 }
    } else {
        let delay = Duration::from_millis([2, 20, 200][random.below(3)]);
        Weather { delay, loss: [0.0, 0.001, 0.02][random.below(3)] }
    };
    let skew = |random: &mut Random| {
        if plan.faults == Faults::None { 0 } else { offset(random) }
    };
    let clocks: Vec<_> = (0..size).map(|_| Wall::new(began, skew(&mut random))).collect();
    let network = Network::new(size, weather, Random::new(random.number()));
    let topics = (0..=random.below(8)).map(|n| TopicName::new(&format!("topic-{n}")).expect("it is a name"));
    let world = Arc::new(World {
        topics: topics.collect(),
        oracle: Mutex::default(),
        instances: Mutex::new((0..size).map(|_| None).collect()),
        network: Arc::clone(&network),
        quiet: AtomicBool::new(false),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(network.run());
    let mut fate = Fate { world: Arc::clone(&world), random, clocks, runs: 0 };
    (0..size).for_each(|index| fate.start(index));
    sleep(CALM).await;
    for n in 0..2 * world.topics.len().max(3) {
        let random = Random::new(fate.random.number());
        let subscriber = Subscriber::new(&world, n % world.topics.len(), random);
        tasks.spawn(subscriber.run(Arc::clone(&world)));
    }
    for _ in 0..=fate.random.below(3) {
        tasks.spawn(publisher::run(Arc::clone(&world), Random::new(fate.random.number())));
    }
    let end = Instant::now() + plan.time;
    while Instant::now() < end {
        sleep(CALM + fate.random.time(CALM_MORE)).await;
        if plan.faults != Faults::None {
            fate.strike(plan.faults).await;
        }
    }
    world.quiet.store(true, Ordering::Relaxed);
    sleep(QUIET).await;
    not_panicked(&mut tasks);
    (0..size).for_each(|index| fate.end(index));
    drop(tasks);
    let oracle = world.oracle.lock();
    Outcome { counts: oracle.counts, trace: oracle.trace(), broken: oracle.verdict(began) }
}

fn offset(random: &mut Random) -> i64 {
    let range = i64::try_from(SKEW_MS).expect("it is seconds");
    i64::try_from(random.below(2 * SKEW_MS)).expect("it is seconds") - range
}

// === impl World ===

impl World {
    /// An instance that is ready, and does not drain.
    pub(super) fn pick(&self, random: &mut Random) -> Option<Arc<Instance>> {
        let instances = self.instances.lock();
        let there: Vec<_> = instances.iter().flatten().filter(|instance| instance.is_ready()).collect();
        if there.is_empty() { None } else { Some(Arc::clone(there[random.below(there.len())])) }
    }

    /// Nothing is published any more, and nobody goes away.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }
}

// === impl Fate ===

impl Fate {
    fn start(&mut self, index: usize) {
        self.runs += 1;
        let clock = Arc::clone(&self.clocks[index]);
        let instance = Instance::start(&self.world.network, (index, self.runs), clock, &mut self.random);
        self.world.instances.lock()[index] = Some(instance);
    }

    fn end(&self, index: usize) {
        if let Some(instance) = self.world.instances.lock()[index].take() {
            instance.end();
        }
        self.world.network.leave(index);
    }

    async fn strike(&mut self, faults: Faults) {
        let index = self.random.below(self.clocks.len());
        let what = self.random.below(if faults == Faults::All { 4 } else { 3 });
        trace::tell(|| format!("{} at {index}", ["a kill", "a drain", "another time", "a cut"][what]));
        match what {
            0 => self.kill(index).await,
            1 => self.drain(index).await,
            2 => self.step(index),
            _ => self.cut(index).await,
        }
    }

    async fn kill(&mut self, index: usize) {
        self.world.oracle.lock().counts.kills += 1;
        let run = self.world.instances.lock()[index].as_ref().map(|instance| instance.me);
        if let Some(run) = run {
            self.world.oracle.lock().killed(run);
        }
        self.end(index);
        self.away().await;
        self.start(index);
    }

    async fn drain(&mut self, index: usize) {
        self.world.oracle.lock().counts.drains += 1;
        let instance = self.world.instances.lock()[index].clone();
        if let Some(instance) = instance {
            instance.drain().await;
        }
        self.end(index);
        self.away().await;
        self.start(index);
    }

    /// At once, within a millisecond, or later.
    async fn away(&mut self) {
        match self.random.below(3) {
            0 => {}
            1 => sleep(Duration::from_millis(1)).await,
            _ => sleep(self.random.time(AWAY)).await,
        }
    }

    async fn cut(&mut self, index: usize) {
        self.world.oracle.lock().counts.cuts += 1;
        let other = (index + 1 + self.random.below(self.clocks.len() - 1)) % self.clocks.len();
        let all: Vec<_> = (0..self.clocks.len()).filter(|n| *n != index).collect();
        let others = if self.random.chance(0.3) { all } else { vec![other] };
        let ways = self.random.below(3);
        for other in others {
            if ways != 1 {
                self.world.network.cut(index, other);
            }
            if ways != 2 {
                self.world.network.cut(other, index);
            }
        }
        let since = Instant::now();
        // Before, so that it holds meanwhile too.
        self.world.oracle.lock().cut(since);
        sleep(self.random.time(CUT)).await;
        self.world.oracle.lock().cut(since);
        trace::tell(|| "the cut is mended".to_owned());
        self.world.network.heal();
    }

    fn step(&mut self, index: usize) {
        self.world.oracle.lock().counts.steps += 1;
        let offset = offset(&mut self.random);
        self.clocks[index].set_offset(offset);
    }
}
