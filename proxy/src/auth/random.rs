//! Randomness for spreading things in time.

use std::time::Duration;

/// The least spread of a wait that clients are told.
const SPREAD_MIN: Duration = Duration::from_secs(1);

/// A duration between zero and `most`, each as likely.
pub(crate) fn up_to(most: Duration) -> Duration {
    // Without randomness the middle serves: it only spreads load, nothing secret depends on it.
    let share = getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX));
    most.mul_f64(share)
}

/// A wait for a client: at least `wait`, and up to half as much more (or a second), so that not all come back
/// at once.
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait + up_to((wait / 2).max(SPREAD_MIN))
}

/// A period of about this length: 10 % shorter to 10 % longer.
pub(crate) fn about(period: Duration) -> Duration {
    period.mul_f64(0.9) + up_to(period.mul_f64(0.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_stay_within_their_bounds() {
        let second = Duration::from_secs(1);
        let mut seen = Vec::new();
        for _ in 0..200 {
            assert!(up_to(second) <= second);
            let wait = jittered(second * 10);
            assert!(wait >= second * 10 && wait <= second * 15);
            let period = about(second * 10);
            assert!(period >= second * 9 && period <= second * 11 + Duration::from_nanos(10));
            seen.push(period);
        }
        seen.dedup();
        assert!(seen.len() > 100, "the values are spread");
    }
}
