//! Phases of an instance's life.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::Server;
use crate::delivery::Command;

/// How long an instance that ends takes to hand over what it keeps.
pub const HAND_OVER_TIME: Duration = Duration::from_secs(10);

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

    /// Begins to drain; at most once: streams end when what is kept here has been handed over. Returns whether this
    /// call did. Has to be called within a Tokio runtime.
    pub fn start_drain(self: &Arc<Self>) -> bool {
        let started = self.phase.send_if_modified(|phase| {
            let start = *phase == Phase::Serving;
            if start {
                *phase = Phase::Draining;
            }
            start
        });
        if started {
            let window = Duration::from_secs(self.config().http.drain_window_sec);
            tracing::info!(
                window_seconds = window.as_secs(),
                subscribers = self.admission.connections(),
                "draining"
            );
            let server = Arc::clone(self);
            tokio::spawn(async move {
                // First, so that nobody comes back to an instance that lacks what is kept here.
                server.hand_over().await;
                server.delivery.tell_all(|| Command::Drain(window));
            });
        }
        started
    }

    async fn hand_over(&self) {
        let Some(mesh) = self.mesh() else { return };
        if timeout(HAND_OVER_TIME, mesh.hand_over_all(&self.hub)).await.is_err() {
            tracing::warn!("not all history was handed over in time");
        }
    }

    pub(super) fn close(&self) {
        self.phase.send_replace(Phase::Closing);
    }
}
