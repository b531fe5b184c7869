//! Random numbers that are the same for the same seed, everywhere.

use std::time::Duration;

use crate::merkle::mix;

/// `SplitMix64`.
#[derive(Clone, Debug)]
pub struct Random(u64);

// === impl Random ===

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end as u64).expect("the remainder is below a usize")
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        ((self.number() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A time from 0 to `most`.
    pub fn time(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.number() % (u64::try_from(most.as_micros()).unwrap_or(u64::MAX - 1) + 1))
    }
}
