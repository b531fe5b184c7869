//! A circuit breaker: closed, open after a number of failures in a row, half-open with exactly one trial
//! call.

use std::time::{Duration, Instant};

/// How long a caller is told to wait while the trial call is under way.
const TRIAL_WAIT: Duration = Duration::from_secs(1);

/// The breaker. Calls ask [`Breaker::admit`] first and tell [`Breaker::settle`] afterwards.
#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    period: Duration,
    phase: Phase,
    /// Counts the changes of phase, so that the outcome of a call from an earlier phase is known as such.
    epoch: u64,
}

/// What the breaker shows to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Calls go through.
    Closed = 0,
    /// No call goes through.
    Open = 1,
    /// One trial call is under way; no other goes through.
    HalfOpen = 2,
}

/// The right to make one call.
#[derive(Debug)]
#[must_use = "a trial that is never settled keeps the breaker half-open"]
pub(crate) struct Ticket {
    epoch: u64,
    trial: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

// === impl Breaker ===

impl Breaker {
    /// A closed breaker that opens after `threshold` failures in a row, for `period`.
    pub(crate) fn new(threshold: u32, period: Duration) -> Self {
        Self { threshold, period, phase: Phase::Closed { failures: 0 }, epoch: 0 }
    }

    /// Whether a call would be refused now, and how long the wait is.
    pub(crate) fn refuses(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { until } if until <= now => None,
            Phase::Open { until } => Some(until.saturating_duration_since(now)),
            Phase::HalfOpen => Some(TRIAL_WAIT),
        }
    }

    /// Lets a call through, or says how long to wait. The first call after the open period is the trial.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Ticket, Duration> {
        if let Some(wait) = self.refuses(now) {
            return Err(wait);
        }
        let trial = matches!(self.phase, Phase::Open { .. });
        if trial {
            self.enter(Phase::HalfOpen);
        }
        Ok(Ticket { epoch: self.epoch, trial })
    }

    /// Takes note of a call's outcome. One that began in an earlier phase says nothing about the present one.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is spent once")]
    pub(crate) fn settle(&mut self, ticket: Ticket, succeeded: bool, now: Instant) {
        if ticket.epoch != self.epoch {
            return;
        }
        match (self.phase, succeeded) {
            (Phase::HalfOpen, true) => self.enter(Phase::Closed { failures: 0 }),
            (Phase::Closed { .. }, true) => self.phase = Phase::Closed { failures: 0 },
            (Phase::Closed { failures }, false) if failures + 1 < self.threshold => {
                self.phase = Phase::Closed { failures: failures + 1 };
            }
            (Phase::Closed { .. } | Phase::HalfOpen, false) => {
                self.enter(Phase::Open { until: now + self.period });
            }
            (Phase::Open { .. }, _) => {}
        }
    }

    /// The state as of the last call; an open breaker whose period is over stays open until somebody calls.
    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen => State::HalfOpen,
        }
    }

    /// New limits from now on; the present phase runs on as it is.
    pub(crate) fn reconfigure(&mut self, threshold: u32, period: Duration) {
        self.threshold = threshold;
        self.period = period;
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }
}

// === impl Ticket ===

impl Ticket {
    /// Whether this is the one trial call of a half-open breaker.
    pub(crate) fn is_trial(&self) -> bool {
        self.trial
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: Duration = Duration::from_mins(1);

    fn opened(threshold: u32, now: Instant) -> Breaker {
        let mut breaker = Breaker::new(threshold, PERIOD);
        for _ in 0..threshold {
            assert_eq!(breaker.state(), State::Closed);
            let ticket = breaker.admit(now).unwrap();
            breaker.settle(ticket, false, now);
        }
        assert_eq!(breaker.state(), State::Open);
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3, PERIOD);
        for succeeded in [false, false, true, false, false] {
            let ticket = breaker.admit(now).unwrap();
            breaker.settle(ticket, succeeded, now);
        }
        assert_eq!(breaker.state(), State::Closed);
        let ticket = breaker.admit(now).unwrap();
        breaker.settle(ticket, false, now);
        assert_eq!(breaker.admit(now).unwrap_err(), PERIOD);
    }

    #[test]
    fn one_trial_closes_it_again() {
        let now = Instant::now();
        let mut breaker = opened(3, now);
        assert_eq!(breaker.admit(now + PERIOD / 2).unwrap_err(), PERIOD / 2);
        let trial = breaker.admit(now + PERIOD).unwrap();
        assert!(trial.is_trial());
        assert_eq!(breaker.state(), State::HalfOpen);
        assert_eq!(breaker.admit(now + PERIOD).unwrap_err(), TRIAL_WAIT);
        breaker.settle(trial, true, now + PERIOD);
        assert_eq!(breaker.state(), State::Closed);
        assert!(!breaker.admit(now + PERIOD).unwrap().is_trial());
    }

    #[test]
    fn a_failed_trial_opens_it_for_another_period() {
        let now = Instant::now();
        let mut breaker = opened(1, now);
        let trial = breaker.admit(now + PERIOD).unwrap();
        breaker.settle(trial, false, now + PERIOD);
        assert_eq!(breaker.admit(now + PERIOD).unwrap_err(), PERIOD);
    }

    #[test]
    fn late_outcomes_of_an_earlier_phase_change_nothing() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1, PERIOD);
        let (late, failing) = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
        breaker.settle(failing, false, now);
        breaker.settle(late, true, now);
        assert_eq!(breaker.state(), State::Open);
    }

    proptest! {
        /// Whatever happens: at most one trial is out at a time, and an open breaker lets nothing through.
        #[test]
        fn never_two_trials(steps in prop::collection::vec((0_u8..3, any::<bool>(), 0_u64..40), 1..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(3, PERIOD);
            let mut out: Vec<Ticket> = Vec::new();
            for (step, succeeded, seconds) in steps {
                now += Duration::from_secs(seconds);
                if step > 0 {
                    let before = breaker.state();
                    if let Ok(ticket) = breaker.admit(now) {
                        prop_assert!(before != State::HalfOpen);
                        prop_assert_eq!(ticket.is_trial(), before == State::Open);
                        out.push(ticket);
                    }
                } else if !out.is_empty() {
                    breaker.settle(out.remove(0), succeeded, now);
                }
                let live = |ticket: &&Ticket| ticket.is_trial() && ticket.epoch == breaker.epoch;
                let trials = out.iter().filter(live).count();
                prop_assert!(trials <= 1);
                prop_assert_eq!(trials == 1, breaker.state() == State::HalfOpen);
            }
        }
    }
}
