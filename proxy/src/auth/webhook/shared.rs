//! What all settings of one webhook share: verdicts, calls under way, breaker and ceiling.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    auth::{
        cache::{Key, Limits, Now, Verdict, VerdictCache},
        failure::{Cause, Failure},
        gate::{Breaker, Bucket, Closed, Gate, State, Ticket},
        metrics::Metrics,
    },
    config::auth::JwtVerifier,
};

/// The shared knowledge. The locks are held for lookups only, never while something is waited for; where both
/// are taken, the store's comes first.
#[derive(Debug)]
pub(super) struct Shared {
    store: Mutex<Store>,
    gate: Mutex<Gate>,
    metrics: Arc<Metrics>,
}

/// Where a verdict is to be had.
#[derive(Debug)]
pub(super) enum Lookup {
    /// It is known.
    Known(Verdict),
    /// A call is under way that will tell.
    Pending(watch::Receiver<Option<Verdict>>),
}

/// The right to make one call. Dropped without [`Pass::settle`] it counts as failed, so that a lost trial
/// does not hold the breaker.
#[derive(Debug)]
pub(super) struct Pass {
    ticket: Option<Ticket>,
    shared: Arc<Shared>,
}

/// The duty to say how a verification ended. Dropped, it ends without a verdict, and the next one who asks
/// starts anew.
#[derive(Debug)]
pub(super) struct Landing {
    shared: Arc<Shared>,
    key: Key,
}

#[derive(Debug)]
struct Store {
    cache: VerdictCache,
    /// Bounded by `max_in_flight`.
    flights: HashMap<Key, watch::Receiver<Option<Verdict>>, RandomState>,
}

// === impl Shared ===

impl Shared {
    /// Nothing is known yet.
    pub(super) fn new(settings: &JwtVerifier, metrics: Arc<Metrics>) -> Self {
        let period = Duration::from_secs(settings.circuit_breaker_timeout_sec);
        let breaker = Breaker::new(settings.circuit_breaker_threshold, period);
        let gate = Gate::new(breaker, Bucket::new(settings.rate_limit_per_sec, Instant::now()));
        let store = Store { cache: VerdictCache::new(limits(settings)), flights: HashMap::default() };
        Self { store: Mutex::new(store), gate: Mutex::new(gate), metrics }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Finds a verdict, or a call that will give it, or has one started. All under one lock, so that however
    /// many ask at once for the same thing, one call is made.
    pub(super) fn lookup(
        &self,
        key: &Key,
        now: Now,
        start: impl FnOnce() -> Result<watch::Receiver<Option<Verdict>>, Failure>,
    ) -> Lookup {
        let mut store = self.store.lock();
        if let Some(verdict) = store.cache.get(key, now) {
            self.metrics.cache_hits.inc();
            return Lookup::Known(verdict);
        }
        self.metrics.cache_misses.inc();
        if let Some(flight) = store.flights.get(key) {
            self.metrics.followers.inc();
            return Lookup::Pending(flight.clone());
        }
        match start() {
            Ok(flight) => {
                store.flights.insert(*key, flight.clone());
                Lookup::Pending(flight)
            }
            Err(failure) => Lookup::Known(Err(failure)),
        }
    }

    /// Lets one call through, or says why not.
    pub(super) fn admit(shared: &Arc<Self>) -> Result<Pass, Failure> {
        let mut gate = shared.gate.lock();
        let admitted = gate.admit(Instant::now());
        let state = gate.state();
        drop(gate);
        shared.metrics.show_breaker(state);
        match admitted {
            Ok(ticket) => {
                if ticket.is_trial() {
                    tracing::info!("webhook breaker half-open: one trial call");
                }
                Ok(Pass { ticket: Some(ticket), shared: shared.clone() })
            }
            Err(Closed::Open(wait)) => Err(Failure::Unavailable(Cause::BreakerOpen, wait)),
            Err(Closed::Ceiling(wait)) => {
                shared.metrics.ceiling_refusals.inc();
                Err(Failure::Unavailable(Cause::Ceiling, wait))
            }
        }
    }

    /// The duty to end the verification of a key.
    pub(super) fn landing(shared: &Arc<Self>, key: Key) -> Landing {
        Landing { shared: shared.clone(), key }
    }

    /// Puts other limits in force.
    pub(super) fn reconfigure(&self, settings: &JwtVerifier) {
        let now = Instant::now();
        let entries = {
            let mut store = self.store.lock();
            store.cache.reconfigure(limits(settings), now);
            store.cache.len()
        };
        self.metrics.show_cache(entries.0, entries.1);
        let period = Duration::from_secs(settings.circuit_breaker_timeout_sec);
        let mut gate = self.gate.lock();
        gate.reconfigure(settings.circuit_breaker_threshold, period, settings.rate_limit_per_sec, now);
        self.metrics.show_breaker(gate.state());
    }

    /// Remembers fewer verdicts while memory is short.
    pub(super) fn shrink(&self, short: bool) {
        let entries = {
            let mut store = self.store.lock();
            store.cache.shrink(short);
            store.cache.len()
        };
        self.metrics.show_cache(entries.0, entries.1);
    }

    fn settle(&self, ticket: Ticket, succeeded: bool) {
        let mut gate = self.gate.lock();
        let before = gate.state();
        let after = gate.settle(ticket, succeeded, Instant::now());
        drop(gate);
        self.metrics.show_breaker(after);
        match after {
            State::Open if before != State::Open => {
                tracing::warn!("webhook breaker open: calls keep failing");
            }
            State::Closed if before != State::Closed => {
                tracing::info!("webhook breaker closed: the trial call succeeded");
            }
            _ => {}
        }
    }
}

// === impl Pass ===

impl Pass {
    /// Whether this call is the one that decides about an open breaker.
    pub(super) fn is_trial(&self) -> bool {
        self.ticket.as_ref().is_some_and(Ticket::is_trial)
    }

    /// Says how the call went.
    pub(super) fn settle(mut self, succeeded: bool) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.settle(ticket, succeeded);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.settle(ticket, false);
        }
    }
}

// === impl Landing ===

impl Landing {
    /// Remembers the verdict; whoever asks from now on finds it.
    pub(super) fn conclude(self, verdict: &Verdict) {
        let entries = {
            let mut store = self.shared.store.lock();
            store.cache.insert(self.key, verdict, Now::read());
            store.cache.len()
        };
        self.shared.metrics.show_cache(entries.0, entries.1);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.shared.store.lock().flights.remove(&self.key);
    }
}

fn limits(settings: &JwtVerifier) -> Limits {
    Limits {
        granted_ttl: Duration::from_secs(settings.cache_ttl_sec),
        granted_max: settings.cache_max_size,
        refused_ttl: Duration::from_secs(settings.negative_cache_ttl_sec),
        refused_max: settings.negative_cache_max_size,
    }
}
