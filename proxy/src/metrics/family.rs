//! From a [`Reading`] to metric families.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::{
    mesh,
    process::ProcessReading,
    reading::{Buckets, Reading},
};
use crate::{delivery::CutReason, edge::turn_away::Passing, governor::CEILINGS};

/// Families in the making.
#[derive(Default)]
pub(super) struct Families(Vec<MetricFamily>);

/// All families of a reading. Which there are and how they are labelled does not depend on its numbers.
pub fn families(reading: &Reading) -> Vec<MetricFamily> {
    let mut all = Families::default();
    connections(&mut all, reading);
    messages(&mut all, reading);
    storage(&mut all, reading);
    governor(&mut all, reading);
    revocations(&mut all, reading);
    instance(&mut all, reading);
    process(&mut all, &reading.process);
    mesh::families(&mut all, &reading.mesh, &reading.remote);
    all.0
}

fn connections(all: &mut Families, r: &Reading) {
    all.gauge("revenprox_connections_active", "Subscribers that are connected", r.active as f64);
    all.counter("revenprox_connections_total", "Subscribers that have been connected", r.connected);
    all.counters(
        "revenprox_connections_rejected_total",
        "Requests and connections turned away for a reason that passes, by reason",
        "reason",
        Passing::ALL.map(Passing::as_str).into_iter().zip(r.refused),
    );
    all.counters(
        "revenprox_connections_ended_total",
        "Streams that ended, by reason",
        "reason",
        CutReason::ALL.map(CutReason::as_str).into_iter().zip(r.ended),
    );
    all.histogram(
        "revenprox_connection_duration_seconds",
        "How long subscribers stayed, of those that have left",
        &r.duration,
        1.0,
    );
    all.gauge(
        "revenprox_http_connections_open",
        "Connections that are not subscribers whose socket a shard owns: requests under way, idle \
         connections, HTTP/2 and TLS",
        r.http_open as f64,
    );
    all.counter(
        "revenprox_addresses_forgotten_total",
        "Client addresses whose count of attempts was forgotten early because too many were remembered",
        r.addresses_forgotten,
    );
}

fn messages(all: &mut Families, r: &Reading) {
    all.counter("revenprox_messages_published_total", "Events accepted from publishers", r.accepted);
    all.counter("revenprox_messages_sent_total", "Events written to subscribers", r.sent);
    all.counter(
        "revenprox_messages_dropped_total",
        "Events that subscribers did not get because they were too far behind",
        r.dropped,
    );
    all.counter("revenprox_bytes_sent_total", "Bytes written to subscribers' streams", r.bytes);
    all.histogram(
        "revenprox_message_latency_seconds",
        "From the acceptance of an event by this instance until it had been written to all subscribers of a \
         shard that keep up, counted once for each of them; the events of one batch count as its first one",
        &r.latency,
        1_000_000.0,
    );
    all.gauge(
        "revenprox_subscribers_behind",
        "Subscribers that have something to get and whose socket is full",
        r.behind as f64,
    );
    all.gauge(
        "revenprox_publishers_waiting",
        "Publishers that wait until delivery of their topic has caught up",
        r.waiting as f64,
    );
    all.counter(
        "revenprox_publish_congested_total",
        "Publishes that were refused because delivery of their topic did not catch up",
        r.congested,
    );
}

fn storage(all: &mut Families, r: &Reading) {
    all.gauge(
        "revenprox_topics_active",
        "Topics that have subscribers, or events that are kept",
        r.topics as f64,
    );
    all.gauge("revenprox_history_bytes", "Memory that the logs of all topics hold", r.history_bytes as f64);
    all.counter(
        "revenprox_history_evicted_bytes_total",
        "Memory of logs given up early because all topics together held too much",
        r.history_evicted,
    );
    all.gauge("revenprox_idempotency_keys", "Idempotency keys that are remembered", r.keys as f64);
    all.counter(
        "revenprox_idempotency_keys_forgotten_total",
        "Idempotency keys forgotten early because too many were remembered",
        r.keys_forgotten,
    );
}

fn governor(all: &mut Families, r: &Reading) {
    let ceiling = |(why, is_reached): (Passing, bool)| {
        gauge(f64::from(u8::from(is_reached)), vec![label("reason", why.as_str())])
    };
    all.push(
        "revenprox_ceiling_reached",
        "1 for the ceiling that newcomers are turned away for at the moment, else 0",
        MetricType::GAUGE,
        CEILINGS.into_iter().zip(r.ceilings).map(ceiling).collect(),
    );
    all.counter(
        "revenprox_memory_shrinks_total",
        "Times that history, remembered verdicts and idempotency keys were made fewer because memory was short; \
         subscribers that had to go for it are in revenprox_connections_ended_total",
        r.shrunk,
    );
}

fn revocations(all: &mut Families, r: &Reading) {
    all.gauge("revenprox_revocations", "Revocations in force", r.revocations as f64);
    all.counter(
        "revenprox_revocations_rejected_total",
        "Revocations that were not taken because too many were in force",
        r.revocations_rejected,
    );
}

fn instance(all: &mut Families, r: &Reading) {
    all.gauge(
        "revenprox_phase",
        "Where the instance is in its life: 0 serving, 1 draining, 2 closing",
        r.phase as f64,
    );
    all.counters(
        "revenprox_config_reloads_total",
        "Times that the configuration was read again because a file changed or for SIGHUP, by what became of it: \
         `rejected` had a problem, which the log tells, and the old one stays in effect",
        "outcome",
        ["applied", "rejected"].into_iter().zip(r.reloads),
    );
    all.counter(
        "revenprox_trace_events_forgotten_total",
        "Traced events whose delivery was not recorded on some shard because too many were under way",
        r.traced_forgotten,
    );
    let version = label("version", env!("CARGO_PKG_VERSION"));
    let help = "Always 1; the version is in the label";
    all.push("revenprox_build_info", help, MetricType::GAUGE, vec![gauge(1.0, vec![version])]);
}

fn process(all: &mut Families, p: &ProcessReading) {
    all.gauge("revenprox_memory_used_bytes", "Memory of the process that is in RAM", p.resident as f64);
    all.gauge(
        "revenprox_cpu_usage_percent",
        "Share of the machine's CPU time, all cores together, that the process used since the last scrape",
        p.cpu_percent,
    );
    all.gauge("revenprox_fd_used", "File descriptors that are open", p.descriptors as f64);
    all.gauge("revenprox_threads", "Threads of the process", p.threads as f64);
    all.gauge("process_resident_memory_bytes", "Memory of the process that is in RAM", p.resident as f64);
    all.gauge("process_virtual_memory_bytes", "Address space of the process", p.virtual_ as f64);
    all.float_counter("process_cpu_seconds_total", "CPU time of the process", p.cpu_seconds);
    all.gauge("process_open_fds", "File descriptors that are open", p.descriptors as f64);
    all.gauge("process_max_fds", "File descriptors that may be open", p.descriptors_max as f64);
    all.gauge("process_threads", "Threads of the process", p.threads as f64);
    all.gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since the Unix epoch",
        p.started,
    );
}

// === impl Families ===

impl Families {
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.float_counter(name, help, value as f64);
    }

    fn float_counter(&mut self, name: &str, help: &str, value: f64) {
        self.push(name, help, MetricType::COUNTER, vec![counter(value, Vec::new())]);
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        label_name: &str,
        values: impl Iterator<Item = (&'static str, u64)>,
    ) {
        let metrics = values.map(|(value, n)| counter(n as f64, vec![label(label_name, value)])).collect();
        self.push(name, help, MetricType::COUNTER, metrics);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.push(name, help, MetricType::GAUGE, vec![gauge(value, Vec::new())]);
    }

    /// A histogram of whole numbers, of which `per_unit` make one of what is shown.
    fn histogram(&mut self, name: &str, help: &str, values: &Buckets, per_unit: f64) {
        let mut histogram = Histogram::default();
        let mut count = 0;
        let bucket = |(bound, n): &(u64, u64)| {
            count += n;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / per_unit);
            bucket.set_cumulative_count(count);
            bucket
        };
        histogram.set_bucket(values.bounded.iter().map(bucket).collect());
        histogram.set_sample_count(count + values.beyond);
        histogram.set_sample_sum(values.sum as f64 / per_unit);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.push(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    /// Adds a family, unless it has no metrics, which the text format does not know.
    pub(super) fn push_some(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if !metrics.is_empty() {
            self.push(name, help, kind, metrics);
        }
    }

    fn push(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

pub(super) fn counter(value: f64, labels: Vec<LabelPair>) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

pub(super) fn gauge(value: f64, labels: Vec<LabelPair>) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(gauge);
    metric
}

pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_in_base_units() {
        let latency = Buckets { bounded: vec![(1, 2), (3, 1)], beyond: 4, sum: 50 };
        let mut all = Families::default();
        all.histogram("x_seconds", "x", &latency, 1_000.0);
        let text = prometheus::TextEncoder::new().encode_to_string(&all.0).unwrap();
        for line in ["{le=\"0.001\"} 2", "{le=\"0.003\"} 3", "{le=\"+Inf\"} 7"] {
            assert!(text.contains(&format!("x_seconds_bucket{line}\n")), "{line} in {text}");
        }
        assert!(text.contains("x_seconds_sum 0.05\n") && text.contains("x_seconds_count 7\n"), "{text}");
    }

    #[test]
    fn labels_have_every_value_from_the_start() {
        let families = families(&Reading::default());
        let rejected =
            families.iter().find(|family| family.name() == "revenprox_connections_rejected_total").unwrap();
        assert_eq!(rejected.get_metric().len(), Passing::ALL.len());
    }
}
