//! What the operator counts.

use std::{fs, time::Duration};

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::build::Kind;

/// The operator's metrics; all begin with `revenprox_operator_`.
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    failures: IntCounterVec,
    requeues: IntCounterVec,
    seconds: Histogram,
    applied: IntCounterVec,
    writes: IntCounterVec,
    clusters: IntGauge,
    leader: IntGauge,
    resident: IntGauge,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics at zero.
    pub fn new() -> Self {
        let counters = |name: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(name, help), &[label]).expect("the name is a valid one")
        };
        let gauge = |name: &str, help: &str| IntGauge::new(name, help).expect("the name is a valid one");
        let reconciles = counters(
            "revenprox_operator_reconciles_total",
            "Looks at a cluster, by how they ended: applied, paused, hindered, failed, late",
            "result",
        );
        let failures = counters(
            "revenprox_operator_failures_total",
            "Looks at a cluster that failed, by what did: apply, files, api, late, ended",
            "reason",
        );
        let requeues = counters(
            "revenprox_operator_requeues_total",
            "Looks that were asked for ahead, by why: progress, rest, failure",
            "why",
        );
        let buckets = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let options =
            HistogramOpts::new("revenprox_operator_reconcile_seconds", "How long a look at a cluster takes");
        let seconds = Histogram::with_opts(options.buckets(buckets)).expect("the buckets ascend");
        let applied =
            counters("revenprox_operator_applied_total", "Objects that were applied, by kind", "kind");
        let writes = counters(
            "revenprox_operator_writes_total",
            "Writes other than objects of clusters: status, scale, repair, nudge, secret, remove, event",
            "what",
        );
        let clusters =
            gauge("revenprox_operator_clusters", "Clusters that were looked at since they were made");
        let leader = gauge("revenprox_operator_leader", "1 if this process is the one that acts");
        let resident = gauge("process_resident_memory_bytes", "Bytes of this process in RAM");
        let build = Opts::new("revenprox_operator_build_info", "Always 1; the version is in the label")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let build = IntGauge::with_opts(build).expect("the name is a valid one");
        build.set(1);
        let registry = Registry::new();
        for collector in [
            Box::new(reconciles.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(failures.clone()),
            Box::new(requeues.clone()),
            Box::new(seconds.clone()),
            Box::new(applied.clone()),
            Box::new(writes.clone()),
            Box::new(clusters.clone()),
            Box::new(leader.clone()),
            Box::new(resident.clone()),
            Box::new(build),
        ] {
            registry.register(collector).expect("each name is there once");
        }
        Self {
            registry,
            reconciles,
            failures,
            requeues,
            seconds,
            applied,
            writes,
            clusters,
            leader,
            resident,
        }
    }

    /// A reconcile has ended.
    pub fn reconciled(&self, result: &str, took: Duration) {
        self.reconciles.with_label_values(&[result]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A reconcile has failed.
    pub fn failed(&self, reason: &str) {
        self.failures.with_label_values(&[reason]).inc();
    }

    /// A cluster will be looked at again, whether or not anything happens to it.
    pub fn requeued(&self, why: &str) {
        self.requeues.with_label_values(&[why]).inc();
    }

    /// An object has been applied.
    pub fn applied(&self, kind: Kind) {
        self.applied.with_label_values(&[&kind.resource().kind]).inc();
    }

    /// Something else has been written.
    pub fn wrote(&self, what: &str) {
        self.writes.with_label_values(&[what]).inc();
    }

    /// So many clusters are known.
    pub fn know(&self, clusters: usize) {
        self.clusters.set(i64::try_from(clusters).unwrap_or(i64::MAX));
    }

    /// Whether this process acts.
    pub fn lead(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// All of it in Prometheus' text format.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes);
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Bytes of this process in RAM, as the system counts them.
fn resident_bytes() -> Option<i64> {
    let pages: i64 = fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * i64::try_from(rustix::param::page_size()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::new();
        metrics.reconciled("applied", Duration::from_millis(30));
        metrics.failed("api");
        metrics.requeued("rest");
        metrics.applied(Kind::Service);
        metrics.wrote("status");
        metrics.lead(true);
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        for line in [
            "revenprox_operator_reconciles_total{result=\"applied\"} 1",
            "revenprox_operator_failures_total{reason=\"api\"} 1",
            "revenprox_operator_requeues_total{why=\"rest\"} 1",
            "revenprox_operator_applied_total{kind=\"Service\"} 1",
            "revenprox_operator_writes_total{what=\"status\"} 1",
            "revenprox_operator_leader 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }
}
