//! Metrics of authentication.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

use super::{failure::Failure, gate::State};

/// Bounds in seconds of the webhook's call times: from a neighbour in the same rack to a timeout.
const CALL_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// All of them; cheap to update, shared by everything that authenticates.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) requests: IntCounter,
    pub(crate) cache_hits: IntCounter,
    pub(crate) cache_misses: IntCounter,
    pub(crate) followers: IntCounter,
    pub(crate) ceiling_refusals: IntCounter,
    pub(crate) in_flight: IntGauge,
    pub(crate) jwks_refreshes: IntCounter,
    pub(crate) jwks_failures: IntCounter,
    pub(crate) jwks_keys: IntGauge,
    pub(crate) reloads_failed: IntCounter,
    pub(crate) call_answered: Histogram,
    pub(crate) call_failed: Histogram,
    failures: IntCounterVec,
    breaker: IntGauge,
    cached_granted: IntGauge,
    cached_refused: IntGauge,
}

// === impl Metrics ===

impl Metrics {
    /// Creates and registers them. Fails if a name is taken.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let make = Maker(registry);
        let failures = make.failures()?;
        let entries = make.register(IntGaugeVec::new(
            Opts::new("revenprox_auth_cache_entries", "Remembered verdicts of the webhook, by verdict"),
            &["verdict"],
        )?)?;
        let calls = make.register(HistogramVec::new(
            HistogramOpts::new(
                "revenprox_auth_webhook_duration_seconds",
                "Duration of single calls to the webhook, by outcome",
            )
            .buckets(CALL_BUCKETS.to_vec()),
            &["outcome"],
        )?)?;
        Ok(Self {
            requests: make.counter("auth_requests_total", "Requests that were to be authorised")?,
            cache_hits: make
                .counter("auth_cache_hits_total", "Verdicts of the webhook that were remembered")?,
            cache_misses: make
                .counter("auth_cache_misses_total", "Verdicts of the webhook that were not remembered")?,
            followers: make.counter(
                "auth_single_flight_followers_total",
                "Requests that waited for a call made for another with the same token, topic and action",
            )?,
            ceiling_refusals: make.counter(
                "auth_ceiling_refusals_total",
                "Calls to the webhook not made because of rate_limit_per_sec",
            )?,
            in_flight: make
                .gauge("auth_webhook_in_flight", "Verifications by the webhook that are under way")?,
            jwks_refreshes: make
                .counter("auth_jwks_refreshes_total", "Fetches of a JWKS that brought keys")?,
            jwks_failures: make
                .counter("auth_jwks_refresh_failures_total", "Fetches of a JWKS that failed")?,
            jwks_keys: make.gauge("auth_jwks_keys", "Usable keys of all JWKS")?,
            reloads_failed: make
                .counter("auth_reload_failures_total", "Reloads of settings or keys that were refused")?,
            call_answered: calls.with_label_values(&["answered"]),
            call_failed: calls.with_label_values(&["failed"]),
            failures,
            breaker: make.gauge(
                "circuit_breaker_state",
                "Circuit breaker of the webhook: 0 closed, 1 open, 2 half-open",
            )?,
            cached_granted: entries.with_label_values(&["granted"]),
            cached_refused: entries.with_label_values(&["refused"]),
        })
    }

    /// Counts a request that was not granted.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.failures.with_label_values(&[failure.label()]).inc();
    }

    /// Shows the breaker's state.
    pub(crate) fn show_breaker(&self, state: State) {
        self.breaker.set(state as i64);
    }

    /// Shows how many verdicts are remembered.
    pub(crate) fn show_cache(&self, granted: usize, refused: usize) {
        self.cached_granted.set(i64::try_from(granted).unwrap_or(i64::MAX));
        self.cached_refused.set(i64::try_from(refused).unwrap_or(i64::MAX));
    }
}

struct Maker<'a>(&'a Registry);

// === impl Maker ===

impl Maker<'_> {
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    /// The failures by reason, each shown from the start.
    fn failures(&self) -> Result<IntCounterVec, prometheus::Error> {
        let opts = Opts::new("revenprox_auth_failures_total", "Requests that were not granted, by reason");
        let failures = self.register(IntCounterVec::new(opts, &["reason"])?)?;
        for label in Failure::LABELS {
            failures.with_label_values(&[label]);
        }
        Ok(failures)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(format!("revenprox_{name}"), help)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(format!("revenprox_{name}"), help)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_prefixed_and_unique() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        metrics.failed(&Failure::Missing);
        let names: Vec<String> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
        assert!(names.len() >= 13 && names.iter().all(|name| name.starts_with("revenprox_")), "{names:?}");
        assert!(Metrics::new(&registry).is_err(), "the names are taken");
        assert_eq!(HashSet::from(Failure::LABELS).len(), Failure::LABELS.len());
    }
}
