//! Clocks of instances, each wrong in its own way.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::time::Instant;

/// When simulations begin, in milliseconds since the Unix epoch.
const BEGIN_MS: i64 = 1_700_000_000_000;

/// The clock that one instance reads.
pub(crate) struct Wall {
    began: Instant,
    offset_ms: AtomicI64,
}

tokio::task_local! {
    static WALL: Arc<Wall>;
}

/// What the clock of the instance says whose code runs now; none outside of simulations.
pub(crate) fn now_ms() -> Option<u64> {
    WALL.try_with(|wall| wall.now_ms()).ok()
}

/// Runs something on an instance.
pub(super) async fn on<F: Future>(wall: &Arc<Wall>, what: F) -> F::Output {
    WALL.scope(Arc::clone(wall), what).await
}

// === impl Wall ===

impl Wall {
    pub(super) fn new(began: Instant, offset_ms: i64) -> Arc<Self> {
        Arc::new(Self { began, offset_ms: AtomicI64::new(offset_ms) })
    }

    /// Steps the clock.
    pub(super) fn set_offset(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    pub(super) fn now_ms(&self) -> u64 {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        (BEGIN_MS + elapsed + self.offset_ms.load(Ordering::Relaxed)).unsigned_abs()
    }
}
