//! Instances that find each other.

use std::{
    fmt::Write as _,
    ops::Index,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Client, Proxy, Response, wait_until};

/// Members that meet do not know of each other at the same moment.
const VOUCHED_AFTER: Duration = Duration::from_millis(300);

/// Instances of which each knows the first.
pub(crate) struct Cluster {
    instances: Vec<Option<Proxy>>,
    folder: TempDir,
    config: String,
}

// === impl Cluster ===

impl Cluster {
    /// Starts `size` instances, each with this configuration besides, and waits until all know all.
    pub(crate) fn start(size: usize, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Self { instances: Vec::new(), folder, config: config.to_owned() };
        for index in 0..size {
            assert_eq!(cluster.add(), index);
        }
        cluster.wait_for_peers();
        // Only what is published this long after they have met do all vouch for.
        let met = Instant::now();
        wait_until("all to vouch for what comes", || met.elapsed() > VOUCHED_AFTER);
        cluster
    }

    /// Starts one more instance. Returns its index.
    pub(crate) fn add(&mut self) -> usize {
        let index = self.instances.len();
        self.instances.push(None);
        self.restart(index);
        index
    }

    /// Where an instance listens.
    pub(crate) fn address(&self, index: usize) -> String {
        format!("ipc://{}/{index}", self.folder.path().display())
    }

    /// Starts an instance, the first time or again.
    pub(crate) fn restart(&mut self, index: usize) {
        let own = self.address(index);
        self.start_at(index, &own);
    }

    fn start_at(&mut self, index: usize, own: &str) {
        let mut config =
            format!("proxy_id = \"instance-{index}\"\n[admin]\nbind_address = \"127.0.0.1:0\"\n");
        let first = self.address(0);
        let last = self.address(self.instances.len().saturating_sub(1));
        writeln!(config, "[nng]\nlisten_addresses = [\"{own}\"]\npeer_addresses = [\"{first}\", \"{last}\"]")
            .unwrap();
        config.push_str(&self.config);
        self.instances[index] = Some(Proxy::start(&config));
    }

    /// Starts an instance again, at another address. Returns the one that was there, which runs on.
    pub(crate) fn replace(&mut self, index: usize) -> Proxy {
        let old = self.instances[index].take().unwrap();
        let elsewhere = format!("{}-again", self.address(index));
        self.start_at(index, &elsewhere);
        old
    }

    /// Ends an instance at once.
    pub(crate) fn kill(&mut self, index: usize) {
        let mut proxy = self.instances[index].take().unwrap();
        proxy.signal(Signal::KILL);
        proxy.wait();
    }

    /// Ends an instance as an operator would.
    pub(crate) fn drain(&mut self, index: usize) {
        let mut proxy = self.instances[index].take().unwrap();
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.wait().code(), Some(0));
    }

    /// Bytes of events that an instance holds.
    pub(crate) fn history(&self, index: usize) -> u64 {
        self[index].metric("revenprox_history_bytes")
    }

    /// Waits until no more history is moved.
    pub(crate) fn wait_for_moves(&self) {
        let moved = || self.sum("revenprox_history_moved_bytes_total");
        let mut last = (moved(), Instant::now());
        wait_until("moves to be over", || {
            let now = moved();
            if now != last.0 {
                last = (now, Instant::now());
            }
            last.1.elapsed() > Duration::from_secs(2)
        });
    }

    /// Waits until every instance that runs has all others as peers.
    pub(crate) fn wait_for_peers(&self) {
        let running = self.running().count() as u64;
        wait_until("all instances to be peers", || {
            self.running().all(|proxy| proxy.metric("revenprox_peers_connected") == running - 1)
        });
    }

    /// Waits until every instance has what others had for it.
    pub(crate) fn wait_for_quiet(&self) {
        wait_until("nothing to be on its way", || {
            (0..self.instances.len()).filter(|index| self.instances[*index].is_some()).all(|index| {
                let peers = self.admin(index, "GET /admin/peers", "").json();
                peers["peers"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|peer| peer["batches_in_flight"] == 0 && peer["queued_events"] == 0)
            })
        });
    }

    /// A metric, summed over all instances and labels.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.running().map(|proxy| proxy.metric(name)).sum()
    }

    /// A request on an instance's admin listener, such as `GET /admin/peers`.
    pub(crate) fn admin(&self, index: usize, request: &str, body: &str) -> Response {
        let mut client = Client::connect(self[index].other_address());
        let length = body.len();
        client.send(
            format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
        );
        client.response()
    }

    fn running(&self) -> impl Iterator<Item = &Proxy> {
        self.instances.iter().flatten()
    }
}

impl Index<usize> for Cluster {
    type Output = Proxy;

    fn index(&self, index: usize) -> &Proxy {
        self.instances[index].as_ref().expect("the instance runs")
    }
}
