//! Several proxies on loopback that work as one.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::error::{Doing, Result, failed};
use crate::proc::{CpuMark, Guarded, free_port};
use crate::publish::{Exchange, exchange};
use crate::target::{directory, local, wait_for_http};

/// How long instances may take to find each other.
const MEET_LIMIT: Duration = Duration::from_secs(30);

/// What the configurations of all instances have in common.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The most connections of one instance.
    pub(super) connections: usize,
    /// Events kept of a topic.
    pub(super) history: usize,
    /// How long a client is told to wait before it reconnects, in milliseconds.
    pub(super) retry_ms: u32,
    /// How long an instance takes to end its streams, in seconds.
    pub(super) drain_sec: u32,
}

/// Running instances, and their files.
pub(super) struct Instances {
    all: Vec<Instance>,
    program: PathBuf,
    directory: TempDir,
}

struct Instance {
    address: SocketAddr,
    process: Guarded,
}

// === impl Instances ===

impl Instances {
    /// Starts `count` instances of `program` and waits until all know all.
    pub(super) fn start(count: usize, program: &Path, settings: &Settings) -> Result<Self> {
        let mut cluster = Self { all: Vec::new(), program: program.into(), directory: directory()? };
        for index in 0..count {
            let address = local(free_port()?);
            let text = configuration(index, address, cluster.directory.path(), settings);
            std::fs::write(cluster.file(index), text).doing(|| "writing a configuration".into())?;
            let process = cluster.spawn(index, address)?;
            cluster.all.push(Instance { address, process });
        }
        cluster.wait_for_peers()?;
        Ok(cluster)
    }

    /// Where clients reach each of them.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.all.iter().map(|i| i.address).collect()
    }

    /// Ends one in its own good time and answers how long it took.
    pub(super) fn stop(&mut self, index: usize, limit: Duration) -> Result<Duration> {
        self.all[index].process.stop(limit)
    }

    /// Ends one at once.
    pub(super) fn kill(&mut self, index: usize) -> Result<()> {
        self.all[index].process.kill()
    }

    /// Makes one stand still for a while, and waits until all know all again.
    pub(super) fn pause(&mut self, index: usize, time: Duration) -> Result<()> {
        self.all[index].process.pause(true);
        std::thread::sleep(time);
        self.all[index].process.pause(false);
        self.wait_for_peers()
    }

    /// Starts one again that has ended, at the same addresses.
    pub(super) fn restart(&mut self, index: usize) -> Result<()> {
        self.all[index].process = self.spawn(index, self.all[index].address)?;
        self.wait_for_peers()
    }

    /// CPU time used so far by each.
    pub(super) fn cpu(&self) -> Vec<CpuMark> {
        self.all.iter().map(|i| i.process.cpu()).collect()
    }

    /// Memory of each, in bytes (PSS).
    pub(super) fn memory(&self) -> Vec<u64> {
        self.all.iter().map(|i| i.process.memory().pss).collect()
    }

    /// Stops one of them, or lets it go on.
    pub(super) fn stand_still(&self, index: usize, stands: bool) {
        self.all[index].process.pause(stands);
    }

    /// A metric of one of them, summed over its labels.
    pub(super) fn metric_of(&self, index: usize, name: &str) -> Result<f64> {
        self.all[index].metric(name)
    }

    /// A metric, summed over instances and labels.
    pub(super) fn metric(&self, name: &str) -> Result<f64> {
        self.all.iter().map(|i| i.metric(name)).sum()
    }

    /// The last lines of what each of them wrote that wrote anything.
    pub(super) fn logs(&self) -> String {
        let mut text = String::new();
        for (index, instance) in self.all.iter().enumerate() {
            let tail = instance.process.log_tail();
            if !tail.is_empty() {
                let _ = writeln!(text, "\ninstance {index}:\n{tail}");
            }
        }
        text
    }

    fn file(&self, index: usize) -> PathBuf {
        self.directory.path().join(format!("{index}.toml"))
    }

    fn spawn(&self, index: usize, address: SocketAddr) -> Result<Guarded> {
        let args = ["--config".into(), self.file(index).display().to_string()];
        let log = self.directory.path().join(format!("{index}.log"));
        let mut process = Guarded::spawn(&format!("instance {index}"), &self.program, &args, &log)?;
        // It is not ready before it has met the others.
        wait_for_http(&mut process, address, "/livez")?;
        Ok(process)
    }

    fn wait_for_peers(&self) -> Result<()> {
        let others = (self.all.len() - 1) as f64;
        let deadline = Instant::now() + MEET_LIMIT;
        // Counts of instances are small whole numbers, which floats represent exactly.
        let know_all =
            |i: &Instance| i.metric("revenprox_peers_connected").is_ok_and(|peers| peers >= others);
        while !self.all.iter().all(know_all) {
            if Instant::now() > deadline {
                return Err(failed(format!(
                    "the instances did not find each other within {} s{}",
                    MEET_LIMIT.as_secs(),
                    self.logs()
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

// === impl Instance ===

impl Instance {
    fn metric(&self, name: &str) -> Result<f64> {
        let get = Exchange { method: "GET", path: "/metrics", headers: "" };
        let answer = exchange(self.address, &get)?;
        let text = String::from_utf8_lossy(&answer.body);
        sum(&text, name).ok_or_else(|| failed(format!("{} has no metric {name}", self.address)))
    }
}

/// The sum of a metric over its labels; `None` where there is no such metric.
fn sum(metrics: &str, name: &str) -> Option<f64> {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let labelled_or_not = rest.starts_with(' ') || rest.starts_with('{');
        labelled_or_not.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    values.reduce(|a, b| a + b)
}

fn configuration(index: usize, bind: SocketAddr, folder: &Path, settings: &Settings) -> String {
    let Settings { connections, history, retry_ms, drain_sec } = settings;
    let mesh = |index: usize| format!("ipc://{}/{index}", folder.display());
    let (own, first) = (mesh(index), mesh(0));
    // An instance need not know another; all find each other through the first.
    let peers = if index == 0 { String::new() } else { format!("peer_addresses = [\"{first}\"]\n") };
    format!(
        "proxy_id = \"instance-{index}\"\nlog_level = \"warn\"\n\
         [http]\nbind_address = \"{bind}\"\nmax_connections = {connections}\nrate_limit_per_ip = 0\n\
         connection_timeout_sec = 0\nkeepalive_interval_sec = 300\nretry_ms = {retry_ms}\n\
         drain_window_sec = {drain_sec}\n\
         [jwt_verifier]\nrequire_authentication = false\n\
         [history]\nmax_events_per_topic = {history}\n\
         [limits]\nmax_memory_mb = 0\nmax_cpu_percent = 100\nmax_network_mbps = 0\n\
         [nng]\nlisten_addresses = [\"{own}\"]\n{peers}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_over_longer_names() {
        let text =
            "# HELP lost x\nlost{kind=\"events\"} 2\nlost{kind=\"batches\"} 3\nlost_more 100\nplain 7\n";
        assert_eq!(sum(text, "lost"), Some(5.0));
        assert_eq!(sum(text, "plain"), Some(7.0));
        assert_eq!(sum(text, "absent"), None);
    }

    #[test]
    fn all_but_the_first_are_told_of_the_first() {
        let settings = Settings { connections: 10, history: 5, retry_ms: 0, drain_sec: 0 };
        let text = |index| configuration(index, local(1), Path::new("/tmp/x"), &settings);
        assert!(
            !text(0).contains("peer_addresses")
                && text(0).contains("listen_addresses = [\"ipc:///tmp/x/0\"]")
        );
        assert!(text(2).contains("peer_addresses = [\"ipc:///tmp/x/0\"]"));
        assert!(text(2).contains("proxy_id = \"instance-2\""));
    }
}
