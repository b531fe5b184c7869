//! The arithmetic of measurement: latency histograms, medians, spreads and slopes.

use serde::{Deserialize, Serialize};

/// Sub-buckets per power of two: a bucket is at most 1/64 of its value wide.
const SUB: u64 = 64;

/// A histogram of microseconds with logarithmic buckets; the value it gives back is at most 1.6 % too high.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

/// Several measurements of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The middle value, which a single disturbed round does not move.
    pub(crate) median: f64,
    /// The smallest value.
    pub(crate) min: f64,
    /// The largest value.
    pub(crate) max: f64,
}

// === impl Histogram ===

impl Histogram {
    /// Counts one value.
    pub(crate) fn record(&mut self, micros: u64) {
        let at = bucket(micros);
        if at >= self.buckets.len() {
            self.buckets.resize(at + 1, 0);
        }
        self.buckets[at] += 1;
        self.count += 1;
        self.max = self.max.max(micros);
    }

    /// Adds everything another histogram counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.buckets.len() > self.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many values were counted.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The value below which `percent` of the values lie, in milliseconds.
    pub(crate) fn percentile_ms(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.count as f64).ceil().max(1.0);
        let mut seen = 0_u64;
        for (at, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen as f64 >= rank {
                return upper_bound(at).min(self.max) as f64 / 1000.0;
            }
        }
        0.0
    }

    /// The largest value, in milliseconds.
    pub(crate) fn max_ms(&self) -> f64 {
        self.max as f64 / 1000.0
    }
}

fn bucket(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(7);
    let at = u64::from(shift) * SUB + (value >> shift);
    usize::try_from(at).expect("there are fewer than 4,096 buckets")
}

fn upper_bound(at: usize) -> u64 {
    let at = at as u64;
    if at < 2 * SUB {
        return at;
    }
    let shift = at / SUB - 1;
    ((at - shift * SUB + 1) << shift) - 1
}

// === impl Summary ===

impl Summary {
    /// Summarises at least one value.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }

    /// Half the distance between the extremes, as a fraction of the median; zero for a median of zero.
    pub(crate) fn spread(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / 2.0 / self.median.abs() }
    }
}

/// The slope of the line that fits the points best (least squares); `None` for fewer than two distinct abscissae.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let mean_x = points.iter().map(|p| p.0).sum::<f64>() / n;
    let mean_y = points.iter().map(|p| p.1).sum::<f64>() / n;
    let across: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    let along: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    (across > 0.0).then(|| along / across)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn buckets_are_monotonous_and_narrow() {
        let mut last = 0;
        for value in (0..5000).chain((11..50).map(|s| 3 << s)) {
            let at = bucket(value);
            let top = upper_bound(at);
            assert!(top >= value && (top - value) * SUB <= value.max(SUB), "{value} is put under {top}");
            assert!(at >= last, "{value} is put before a smaller value");
            last = at;
        }
    }

    #[test]
    fn percentiles_of_a_known_set() {
        let mut h = Histogram::default();
        for value in 1..=100 {
            h.record(value * 1000);
        }
        assert!((h.percentile_ms(50.0) - 50.0).abs() < 1.0);
        assert!((h.percentile_ms(99.0) - 99.0).abs() < 1.7);
        assert!(near(h.percentile_ms(100.0), 100.0) && near(h.max_ms(), 100.0));
    }

    #[test]
    fn an_empty_histogram_answers_zero() {
        assert!(near(Histogram::default().percentile_ms(99.0), 0.0));
    }

    #[test]
    fn merging_is_counting_together() {
        let (mut a, mut b, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for value in [3, 700, 90_000, 12] {
            a.record(value);
            both.record(value);
        }
        for value in [5_000_000, 1] {
            b.record(value);
            both.record(value);
        }
        a.merge(&b);
        assert_eq!(a, both);
    }

    #[test]
    fn the_median_ignores_an_outlier() {
        let summary = Summary::of(&[10.0, 11.0, 500.0]).unwrap();
        assert!(near(summary.median, 11.0) && near(summary.min, 10.0) && near(summary.max, 500.0));
        assert!(near(Summary::of(&[1.0, 3.0]).unwrap().median, 2.0));
        assert!(Summary::of(&[]).is_none());
    }

    #[test]
    fn spread_is_half_the_range() {
        assert!(near(Summary::of(&[90.0, 100.0, 110.0]).unwrap().spread(), 0.1));
    }

    #[test]
    fn the_slope_of_a_line_is_its_slope() {
        let points = [(4000.0, 1_000_500.0), (8000.0, 1_500_500.0), (16000.0, 2_500_500.0)];
        assert!(near(slope(&points).unwrap(), 125.0));
        assert!(slope(&[(1.0, 2.0)]).is_none());
    }
}
