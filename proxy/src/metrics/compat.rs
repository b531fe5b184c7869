//! Names of earlier proxies of this kind, for dashboards that have them.
//!
//! They break the conventions that `promtool check metrics` looks after (counters end in `_total`, times are in
//! seconds), so they are shown only if configured, and besides the others.

use prometheus::proto::{Bucket, Counter, Metric, MetricFamily, MetricType};

/// What is shown under an older name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    /// The same.
    Same,
    /// One number for all labels.
    Sum,
    /// Milliseconds for seconds.
    Milliseconds,
}

const NAMES: [(&str, &str, As); 4] = [
    ("revenprox_connections_rejected_total", "revenprox_connections_rejected", As::Sum),
    ("revenprox_message_latency_seconds", "revenprox_message_latency_ms", As::Milliseconds),
    ("revenprox_auth_cache_hits_total", "revenprox_auth_cache_hits", As::Same),
    ("revenprox_auth_cache_misses_total", "revenprox_auth_cache_misses", As::Same),
];

/// Each older name with the name it stands for.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.iter().map(|(name, older, _)| (*older, *name))
}

/// Families under older names, made from those among `families` that have one.
pub fn aliases(families: &[MetricFamily]) -> Vec<MetricFamily> {
    let alias = |family: &MetricFamily| {
        let (name, older, what) = NAMES.iter().find(|(name, ..)| *name == family.name())?;
        let mut alias = family.clone();
        alias.set_name((*older).to_owned());
        alias.set_help(format!("As {name}, which replaces it"));
        match what {
            As::Same => {}
            As::Sum => alias.set_metric(vec![sum(family)]),
            As::Milliseconds => alias.mut_metric().iter_mut().for_each(to_milliseconds),
        }
        Some(alias)
    };
    families.iter().filter_map(alias).collect()
}

fn sum(family: &MetricFamily) -> Metric {
    debug_assert_eq!(family.get_field_type(), MetricType::COUNTER, "only counters are summed");
    let mut counter = Counter::default();
    counter.set_value(family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum());
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

fn to_milliseconds(metric: &mut Metric) {
    let mut histogram = metric.get_histogram().clone();
    let bucket = |bucket: &Bucket| {
        let mut scaled = bucket.clone();
        scaled.set_upper_bound(milliseconds(bucket.upper_bound()));
        scaled
    };
    histogram.set_bucket(histogram.get_bucket().iter().map(bucket).collect());
    histogram.set_sample_sum(milliseconds(histogram.get_sample_sum()));
    metric.set_histogram(histogram);
}

/// Rounded to nanoseconds, so that 0.05 s is 50 ms and not a little more.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Reading, family::families, reading::Buckets};

    #[test]
    fn older_names_show_the_same_numbers() {
        let mut reading = Reading {
            latency: Buckets { bounded: vec![(2_000, 3)], beyond: 0, sum: 5_000 },
            ..Reading::default()
        };
        reading.refused[0] = 2;
        reading.refused[3] = 5;
        let text = prometheus::TextEncoder::new().encode_to_string(&aliases(&families(&reading))).unwrap();
        for line in [
            "revenprox_connections_rejected 7",
            "revenprox_message_latency_ms_bucket{le=\"2\"} 3",
            "revenprox_message_latency_ms_sum 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
