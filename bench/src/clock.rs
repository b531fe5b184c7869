//! The machine's monotonic clock, which all processes of a run share.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of the monotonic clock.
pub(crate) fn now_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000 + nanos / 1000
}
