//! One run of an instance.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use revenprox_mesh::{
    discovery::{self, Discovery},
    identity::Session,
    link::Bounds as LinkBounds,
    node::{Node, Settings},
    seal::Keyring,
    sim::Random,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    clock::{self, Wall},
    network::{Ends, Network, Run},
};
use crate::{
    event::Origin,
    hub::{Hub, Retention},
    log::Bounds,
    mesh::{Mesh, arrival::Arrival},
};

/// How many instances keep each topic.
pub(super) const KEEPERS: usize = 2;

/// How long everything is kept.
const KEPT: Duration = Duration::from_mins(5);

/// How long handing over may take before an instance ends.
const HAND_OVER_TIME: Duration = Duration::from_secs(10);

/// Over how long streams end, and what was published last is brought to others.
const DRAIN_WINDOW: Duration = Duration::from_secs(3);

/// How long others have to hear that it ends.
const LEAVE_TIME: Duration = Duration::from_millis(100);

/// How long it waits for others before it is ready, and for their history.
const MEETING: Duration = Duration::from_secs(5);
const HISTORY: Duration = Duration::from_secs(30);

/// How often all topics are swept.
const SWEEP: Duration = Duration::from_millis(6_400);

/// See the module.
pub(super) struct Instance {
    pub(super) me: Run,
    pub(super) wall: Arc<Wall>,
    pub(super) hub: Arc<Hub>,
    pub(super) mesh: Arc<Mesh>,
    /// Streams on it end.
    pub(super) gone: watch::Sender<bool>,
    /// It does nothing any more.
    pub(super) killed: watch::Sender<bool>,
    announce: Duration,
    tasks: Mutex<JoinSet<()>>,
}

// === impl Instance ===

impl Instance {
    pub(super) fn start(network: &Arc<Network>, me: Run, wall: Arc<Wall>, random: &mut Random) -> Arc<Self> {
        let age_ms = u64::try_from(KEPT.as_millis()).expect("it is minutes");
        let per_topic = Bounds { events: 10_000, bytes: 1 << 20, age_ms };
        let retention = Retention { per_topic, total_bytes: 64 << 20, queue_events: 1_000 };
        let origin = Origin(u32::try_from(random.number() >> 32).expect("32 bits are left"));
        let hub = Arc::new(Hub::new(origin, retention, Vec::new()));
        let session = Session { incarnation: wall.now_ms(), salt: random.number() };
        let node = Node::new(settings(network, me.0), session);
        let events = network.join(me);
        let fixed = discovery::Settings { fixed: network.addresses().to_vec(), ..Default::default() };
        let discovery = Discovery::start_with(fixed, None).expect("a list needs nothing");
        let sockets = Box::new(Ends { network: Arc::clone(network), me });
        let (mesh, driver) = Mesh::assemble(node, session, Keyring::open(), sockets, events, discovery);
        hub.join(Arc::clone(&mesh) as _);
        let mut tasks = JoinSet::new();
        let on = |wall: &Arc<Wall>| Arc::clone(wall);
        let (clock, topics) = (on(&wall), Arc::clone(&hub));
        tasks.spawn(async move { clock::on(&clock, driver.run(topics, |_, _| {})).await });
        let (clock, topics, moving) = (on(&wall), Arc::clone(&hub), Arc::clone(&mesh));
        tasks.spawn(async move { clock::on(&clock, moving.hand_over(topics)).await });
        let (clock, topics, looking) = (on(&wall), Arc::clone(&hub), Arc::clone(&mesh));
        tasks.spawn(async move { clock::on(&clock, looking.look_again(topics)).await });
        let settling = Arc::clone(&mesh);
        tasks.spawn(async move { settling.settle(MEETING, HISTORY).await });
        let (clock, topics) = (on(&wall), Arc::clone(&hub));
        tasks.spawn(async move { clock::on(&clock, sweep(topics)).await });
        Arc::new(Self {
            me,
            wall,
            hub,
            mesh,
            gone: watch::Sender::new(false),
            killed: watch::Sender::new(false),
            announce: network.subscribe_wait(),
            tasks: Mutex::new(tasks),
        })
    }

    /// Whether it is to get subscribers and events.
    pub(super) fn is_ready(&self) -> bool {
        self.mesh.missing().is_none() && !*self.gone.borrow()
    }

    /// What a subscriber that arrives waits for.
    pub(super) fn arrival(&self) -> Arrival<'_> {
        Arrival {
            hub: &self.hub,
            mesh: Some(&self.mesh),
            announce: self.announce,
            resume: Duration::from_secs(2),
        }
    }

    /// Ends as on a signal: hands over, ends its streams, and says that it leaves.
    pub(super) async fn drain(&self) {
        clock::on(&self.wall, self.drain_here()).await;
    }

    /// Ends at once.
    pub(super) fn end(&self) {
        let mut tasks = self.tasks.lock();
        not_panicked(&mut tasks);
        tasks.abort_all();
        self.gone.send_replace(true);
        self.killed.send_replace(true);
    }

    async fn drain_here(&self) {
        // What is not handed over in time is not.
        let _ = timeout(HAND_OVER_TIME, self.mesh.hand_over_all(&self.hub)).await;
        self.gone.send_replace(true);
        sleep(DRAIN_WINDOW).await;
        self.mesh.leave();
        sleep(LEAVE_TIME).await;
    }
}

/// A task that has panicked would have ended the process.
pub(super) fn not_panicked(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.try_join_next() {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

async fn sweep(hub: Arc<Hub>) {
    loop {
        sleep(SWEEP).await;
        (0..Hub::STRIPES).for_each(|step| hub.sweep(step));
    }
}

fn settings(network: &Network, index: usize) -> Settings {
    Settings {
        name: format!("instance-{index}"),
        addresses: vec![network.addresses()[index].clone()],
        heartbeat: Duration::from_secs(1),
        peer_timeout: Duration::from_secs(5),
        gossip: Duration::from_secs(30),
        forget_after: Duration::from_mins(1),
        link: LinkBounds {
            queue_events: 1_000,
            queue_bytes: 1 << 20,
            queue_control: 1_000,
            batch_frames: 64,
            batch_delay: Duration::from_millis(1),
        },
        interest_capacity: 1_000,
        interest_fpr: 0.01,
        keepers: KEEPERS,
        members_max: 16,
    }
}
