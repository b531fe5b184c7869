//! What lets a call to the webhook through: a circuit breaker and a ceiling on calls per second.
//!
//! Both are pure: the time is an argument.

use std::time::{Duration, Instant};

mod breaker;
mod bucket;

pub(crate) use breaker::{Breaker, State, Ticket};
pub(crate) use bucket::Bucket;

/// Breaker and ceiling together, so that a call refused by one does not use up what the other gives.
#[derive(Debug)]
pub(crate) struct Gate {
    breaker: Breaker,
    bucket: Bucket,
}

/// Why a call was not let through, and in which time it may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The breaker is open, or half-open with its trial under way.
    Open(Duration),
    /// The ceiling is reached.
    Ceiling(Duration),
}

// === impl Gate ===

impl Gate {
    /// A gate with a closed breaker and a full bucket.
    pub(crate) fn new(breaker: Breaker, bucket: Bucket) -> Self {
        Self { breaker, bucket }
    }

    /// Lets one call through or says why not. Every ticket must be settled once.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Ticket, Closed> {
        if let Some(wait) = self.breaker.refuses(now) {
            return Err(Closed::Open(wait));
        }
        self.bucket.take(now).map_err(Closed::Ceiling)?;
        self.breaker.admit(now).map_err(Closed::Open)
    }

    /// Takes note of how a call went.
    pub(crate) fn settle(&mut self, ticket: Ticket, succeeded: bool, now: Instant) -> State {
        self.breaker.settle(ticket, succeeded, now);
        self.breaker.state()
    }

    /// The breaker's state.
    pub(crate) fn state(&self) -> State {
        self.breaker.state()
    }

    /// Puts new limits in force without forgetting what is known about the webhook's health.
    pub(crate) fn reconfigure(&mut self, threshold: u32, period: Duration, per_second: u32, now: Instant) {
        self.breaker.reconfigure(threshold, period);
        self.bucket.reconfigure(per_second, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_over_the_ceiling_does_not_use_up_the_trial() {
        let start = Instant::now();
        let mut gate = Gate::new(Breaker::new(1, Duration::from_secs(10)), Bucket::new(1, start));
        let ticket = gate.admit(start).unwrap();
        assert_eq!(gate.settle(ticket, false, start), State::Open);
        assert!(matches!(gate.admit(start), Err(Closed::Open(_))), "an open breaker answers first");
        let later = start + Duration::from_secs(10);
        gate.bucket.take(later).unwrap();
        assert!(matches!(gate.admit(later), Err(Closed::Ceiling(_))));
        assert_eq!(gate.state(), State::Open);
        assert!(gate.admit(later + Duration::from_secs(1)).unwrap().is_trial());
    }
}
