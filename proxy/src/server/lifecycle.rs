//! Phases of an instance's life.

use std::sync::Arc;

use super::Server;
use crate::delivery::Command;

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Listening.
    Serving,
    /// Not ready, turning subscribers away and ending streams one by one; publishes are served.
    Draining,
    /// Ending: no connection is accepted any more.
    Closing,
}

// === impl Server ===

impl Server {
    /// Where the instance is.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Ends when the instance closes.
    pub async fn closing(&self) {
        // The sender is part of `self`, so the channel is open as long as anybody can wait.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Closing).await;
    }

    /// Begins to drain; at most once. Returns whether this call did.
    pub fn start_drain(self: &Arc<Self>) -> bool {
        let started = self.phase.send_if_modified(|phase| {
            let start = *phase == Phase::Serving;
            if start {
                *phase = Phase::Draining;
            }
            start
        });
        if started {
            let window = std::time::Duration::from_secs(self.config().http.drain_window_sec);
            tracing::info!(
                window_seconds = window.as_secs(),
                subscribers = self.admission.connections(),
                "draining"
            );
            self.delivery.tell_all(|| Command::Drain(window));
        }
        started
    }

    pub(super) fn close(&self) {
        self.phase.send_replace(Phase::Closing);
    }
}
