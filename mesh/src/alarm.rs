//! A timer for a loop that is told a new time at each turn.
//!
//! Setting a timer of Tokio's to an earlier time wakes the thread that waits for timers, which costs more than a turn of a
//! busy loop. A time that has become later need not be set at all: the timer then fires early once, and the loop, which
//! looks at the clock anyway, tells it the new time.

use std::{pin::Pin, time::Instant};

use tokio::time::{Sleep, sleep_until};

/// See the module.
#[derive(Debug)]
pub struct Alarm(Pin<Box<Sleep>>);

// === impl Alarm ===

impl Alarm {
    /// Must be called within a Tokio runtime.
    pub fn new(at: Instant) -> Self {
        Self(Box::pin(sleep_until(at.into())))
    }

    /// Fires then, or earlier.
    pub fn at_latest(&mut self, at: Instant) {
        if self.0.is_elapsed() || at < self.0.deadline().into_std() {
            self.0.as_mut().reset(at.into());
        }
    }

    /// Waits until it fires.
    pub async fn fires(&mut self) {
        self.0.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_fires_at_the_earliest_time_that_it_was_told() {
        let began = tokio::time::Instant::now();
        let elapsed = || began.elapsed().as_secs();
        let after = |seconds| (tokio::time::Instant::now() + Duration::from_secs(seconds)).into_std();
        let mut alarm = Alarm::new(began.into_std());
        alarm.fires().await;
        for (told, fires_at) in [([9, 5], 5), ([3, 8], 8), ([4, 4], 12)] {
            for seconds in told {
                alarm.at_latest(after(seconds));
            }
            alarm.fires().await;
            assert_eq!(elapsed(), fires_at);
        }
    }
}
