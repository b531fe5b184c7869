//! A token bucket: a ceiling on calls per second that lets one second's worth through at once.

use std::time::{Duration, Instant};

/// The bucket. Its content is kept as the time at which it would be full, so nothing needs to tick.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: u32,
    /// When the bucket is full again; in the past, it is full now.
    full_at: Instant,
}

// === impl Bucket ===

impl Bucket {
    /// A full bucket. 0 per second means that there is no ceiling.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, full_at: now }
    }

    /// Takes one token, or says how long it takes until there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if self.per_second == 0 {
            return Ok(());
        }
        let full_at = self.full_at.max(now) + self.cost();
        let missing = full_at.saturating_duration_since(now);
        // A full bucket holds one second's worth: emptier than that, it has nothing to give.
        match missing.checked_sub(Duration::from_secs(1)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = full_at;
                Ok(())
            }
        }
    }

    /// Another rate from now on. The share of the bucket that is empty stays.
    pub(crate) fn reconfigure(&mut self, per_second: u32, now: Instant) {
        if self.per_second == 0 {
            self.full_at = now;
        }
        self.per_second = per_second;
    }

    fn cost(&self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_worth_at_once_then_the_rate() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, now);
        for _ in 0..10 {
            bucket.take(now).unwrap();
        }
        assert_eq!(bucket.take(now), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(now + Duration::from_millis(100)), Ok(()));
        assert!(bucket.take(now + Duration::from_millis(199)).is_err());
    }

    #[test]
    fn zero_is_no_ceiling() {
        let now = Instant::now();
        let mut bucket = Bucket::new(0, now);
        assert!((0..10_000).all(|_| bucket.take(now).is_ok()));
        bucket.reconfigure(1, now);
        assert!(bucket.take(now).is_ok() && bucket.take(now).is_err());
    }

    proptest! {
        /// In any window: no more than the burst and what the rate gives.
        #[test]
        fn never_over_the_rate(rate in 1_u32..2000, pauses in prop::collection::vec(0_u64..20_000, 1..300)) {
            let start = Instant::now();
            let (mut now, mut bucket) = (start, Bucket::new(rate, start));
            let mut taken = 0_u32;
            for pause in pauses {
                now += Duration::from_micros(pause);
                taken += u32::from(bucket.take(now).is_ok());
                let most = f64::from(rate) * (1.0 + (now - start).as_secs_f64()) * 1.000_001 + 1.0;
                prop_assert!(f64::from(taken) <= most);
            }
        }
    }
}
