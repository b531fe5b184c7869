//! How long to wait before a reconnect.

use std::time::Duration;

/// The reconnection time of a stream that asked for none.
pub const RETRY_DEFAULT: Duration = Duration::from_secs(2);

/// The longest wait, unless the server asked for a longer one.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// The waits of one subscription. Each failure in a row doubles the wait; every wait is stretched by a random
/// part of up to a half, so that clients that lost the same server do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    retry: Duration,
    failures: u32,
}

// === impl Backoff ===

impl Default for Backoff {
    fn default() -> Self {
        Self { retry: RETRY_DEFAULT, failures: 0 }
    }
}

impl Backoff {
    /// Takes the reconnection time that a stream asked for.
    pub fn set_retry(&mut self, milliseconds: u64) {
        self.retry = Duration::from_millis(milliseconds);
    }

    /// The server was there: the next wait is the reconnection time again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The connection could not be made, or brought nothing.
    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// The wait before the next try. `at_least` is what the server asked for with `Retry-After`; `random` is
    /// from 0 up to 1.
    pub fn wait(&self, at_least: Option<Duration>, random: f64) -> Duration {
        let doublings = self.failures.min(16);
        let wait = self.retry.saturating_mul(1 << doublings).min(WAIT_MAX.max(self.retry));
        let wait = wait.max(at_least.unwrap_or_default());
        // The product is what the server asked for and half of it at most, which `u64` milliseconds hold.
        let stretch = Duration::try_from_secs_f64(wait.as_secs_f64() * random.clamp(0.0, 1.0) / 2.0);
        wait.saturating_add(stretch.unwrap_or_default())
    }
}

/// A random number from 0 up to 1.
pub fn random() -> f64 {
    // A machine without randomness waits without jitter.
    getrandom::u32().map_or(0.0, |bits| f64::from(bits) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(failures: u32, retry: u64) -> Duration {
        let mut backoff = Backoff::default();
        backoff.set_retry(retry);
        (0..failures).for_each(|_| backoff.failed());
        backoff.wait(None, 0.0)
    }

    #[test]
    fn the_wait_doubles_up_to_a_bound() {
        let waits: Vec<_> = (0..8).map(|failures| after(failures, 2000).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(after(1000, 1), WAIT_MAX);
        assert_eq!(after(5, 90_000), Duration::from_secs(90));
        assert_eq!(after(5, 0), Duration::ZERO);
    }

    #[test]
    fn success_starts_again() {
        let mut backoff = Backoff::default();
        (0..9).for_each(|_| backoff.failed());
        backoff.succeeded();
        assert_eq!(backoff.wait(None, 0.0), RETRY_DEFAULT);
    }

    #[test]
    fn jitter_stretches_by_up_to_a_half() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(None, 1.0), RETRY_DEFAULT * 3 / 2);
        for _ in 0..100 {
            let wait = backoff.wait(None, random());
            assert!((RETRY_DEFAULT..RETRY_DEFAULT * 3 / 2).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    fn the_server_may_ask_for_more_and_for_absurd_times() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.wait(Some(Duration::from_secs(100)), 0.0), Duration::from_secs(100));
        backoff.set_retry(u64::MAX);
        (0..9).for_each(|_| backoff.failed());
        assert!(backoff.wait(Some(Duration::MAX), 1.0) >= Duration::from_millis(u64::MAX));
    }
}
