//! A rolling restart: each instance is drained and started again, one after the other, while events are published and
//! subscribers reconnect to another instance.

mod books;
mod publisher;
pub(super) mod stream;
mod subscriber;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::books::{Account, End, Publishing};
use self::publisher::Publisher;
use self::stream::Memory;
use self::subscriber::{Live, Subscriber};
use super::instances::{Instances, Settings};
use super::{ClusterArgs, Fault, Outcome};
use crate::client::Topics;
use crate::clock::now_micros;
use crate::error::{Doing, Result, failed};
use crate::proc::raise_descriptor_limit;
use crate::progress;
use crate::table::align;

/// The delay that clients are given, which is the default of the proxy.
const RETRY_MS: u32 = 2000;

/// Over how long an instance ends its streams.
const DRAIN_SEC: u32 = 8;

/// How long an instance stands still: longer than its peers wait for it.
const PAUSE: Duration = Duration::from_secs(8);

/// How much longer an instance may take to end.
const STOP_SLACK: Duration = Duration::from_secs(30);

/// How long subscribers may take until all of them have a stream.
const CONNECT_LIMIT: Duration = Duration::from_mins(1);

/// When nothing has been delivered for so long, nothing more is on its way.
const QUIET: Duration = Duration::from_secs(2);

/// Everything that runs beside the instances.
struct Clients {
    runtime: Runtime,
    live: Arc<Live>,
    subscribers: Vec<JoinHandle<Account>>,
    publishers: Vec<JoinHandle<Publishing>>,
    stop_subscribers: watch::Sender<bool>,
    stop_publishers: watch::Sender<bool>,
}

/// Restarts each instance once and describes what that cost.
pub(super) fn run(args: &ClusterArgs) -> Result<Outcome> {
    // All subscribers of a rolling restart are this process's own.
    raise_descriptor_limit();
    let settings = Settings {
        connections: args.subscribers() + 200,
        history: 1000,
        retry_ms: RETRY_MS,
        drain_sec: DRAIN_SEC,
    };
    let mut cluster = Instances::start(args.instances(), &args.proxy, &settings)?;
    let mut clients = Clients::start(args, &cluster.addresses().into())?;
    clients.wait_until_connected(args.subscribers())?;
    clients.publish(args, &cluster.addresses().into());
    let (mut took, mut ends) = (Vec::new(), Vec::new());
    for (fault, index) in args.faults() {
        progress::step(&format!("instance {index}: {fault:?}"));
        clients.go_on(args)?;
        match fault {
            Fault::Drain => {
                let drained = cluster.stop(index, Duration::from_secs(DRAIN_SEC.into()) + STOP_SLACK)?;
                took.push(format!("{:.1} s", drained.as_secs_f64()));
            }
            Fault::Kill => cluster.kill(index)?,
            Fault::Pause => {
                cluster.pause(index, PAUSE)?;
                continue;
            }
        }
        ends.push(End { instance: index, at: now_micros() });
        cluster.restart(index)?;
    }
    clients.wait_until_connected(args.subscribers())?;
    clients.go_on(args)?;
    let (accounts, publishers) = clients.finish()?;
    let missed = books::settle(&accounts, &publishers, &ends);
    let mut text = align(&books::rows(args, &accounts, &publishers, &ends));
    let _ = writeln!(
        text,
        "Drains took {}; streams end over {DRAIN_SEC} s, clients wait {RETRY_MS} ms and are given a delay of their own \
         by the drain.",
        took.join(", ")
    );
    let lost = missed.away + missed.connected;
    let verdict = match lost {
        0 => Ok(()),
        _ if !args.replicated => Ok(()),
        _ => Err(failed(format!("{lost} deliveries of replicated events are missing"))),
    };
    Ok(Outcome { text, verdict })
}

// === impl Clients ===

impl Clients {
    fn start(args: &ClusterArgs, instances: &Arc<[SocketAddr]>) -> Result<Self> {
        let runtime = Runtime::new().doing(|| "starting a runtime".into())?;
        let (stop_subscribers, stopped) = watch::channel(false);
        let live = Arc::new(Live::default());
        let subscriber = |number: usize| Subscriber {
            instances: Arc::clone(instances),
            at: number % instances.len(),
            account: Account::new(Topics::Random(args.topics()).of(number)),
            live: Arc::clone(&live),
            memory: Memory::default(),
        };
        let subscribers = (0..args.subscribers())
            .map(|number| runtime.spawn(subscriber(number).run(stopped.clone())))
            .collect();
        let (publishers, stop_publishers) = (Vec::new(), watch::channel(false).0);
        Ok(Self { runtime, live, subscribers, publishers, stop_subscribers, stop_publishers })
    }

    /// Begins to publish, with as many publishers as there are instances.
    fn publish(&mut self, args: &ClusterArgs, instances: &Arc<[SocketAddr]>) {
        let count = u8::try_from(instances.len()).unwrap_or(u8::MAX);
        for number in 0..count {
            let publisher = Publisher {
                number,
                instances: Arc::clone(instances),
                at: number.into(),
                connection: None,
                topics: args.topics(),
                replicated: args.replicated,
                payload: args.payload,
                every: Duration::from_secs_f64(f64::from(count) / args.rate()),
                book: Publishing::default(),
            };
            self.publishers.push(self.runtime.spawn(publisher.run(self.stop_publishers.subscribe())));
        }
    }

    fn wait_until_connected(&self, count: usize) -> Result<()> {
        let deadline = Instant::now() + CONNECT_LIMIT;
        while self.live.connected.load(Ordering::Relaxed) < count as u64 {
            if Instant::now() > deadline {
                let there = self.live.connected.load(Ordering::Relaxed);
                return Err(failed(format!("only {there} of {count} subscribers have a stream")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Lets events be published for the time asked for, with all subscribers connected.
    fn go_on(&self, args: &ClusterArgs) -> Result<()> {
        self.wait_until_connected(args.subscribers())?;
        std::thread::sleep(Duration::from_secs_f64(args.seconds()));
        Ok(())
    }

    /// Ends publishing, waits for what is on its way, and ends the subscribers.
    fn finish(self) -> Result<(Vec<Account>, Vec<Publishing>)> {
        self.stop_publishers.send_replace(true);
        let publishers = self.runtime.block_on(all(self.publishers))?;
        let delivered = || self.live.delivered.load(Ordering::Relaxed);
        let (mut last, mut since) = (delivered(), Instant::now());
        while since.elapsed() < QUIET {
            std::thread::sleep(Duration::from_millis(20));
            if delivered() != last {
                (last, since) = (delivered(), Instant::now());
            }
        }
        self.stop_subscribers.send_replace(true);
        Ok((self.runtime.block_on(all(self.subscribers))?, publishers))
    }
}

async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Result<Vec<T>> {
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(task.await.map_err(|e| failed(format!("a client failed: {e}")))?);
    }
    Ok(done)
}
