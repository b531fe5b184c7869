//! What a connection's driver and its service share.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::{config::Http, delivery::Terms};

/// An idle timeout of zero means this.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// One connection.
pub struct Link {
    /// Whether its socket can go to a shard.
    hand_off: bool,
    /// Whether it came to the admin listener.
    admin: bool,
    state: Mutex<State>,
}

struct State {
    terms: Option<Box<Terms>>,
    in_flight: u32,
    requests: u64,
    idle_since: Instant,
}

/// A request that is being answered, until its answer has been written.
pub struct InFlight(Arc<Link>);

// === impl Link ===

impl Link {
    /// A connection that has just been accepted.
    pub fn new(hand_off: bool) -> Arc<Self> {
        Self::of(hand_off, false)
    }

    /// A connection to the admin listener.
    pub fn admin() -> Arc<Self> {
        Self::of(false, true)
    }

    fn of(hand_off: bool, admin: bool) -> Arc<Self> {
        let state = State { terms: None, in_flight: 0, requests: 0, idle_since: Instant::now() };
        Arc::new(Self { hand_off, admin, state: Mutex::new(state) })
    }

    /// Whether its socket can go to a shard.
    pub fn can_hand_off(&self) -> bool {
        self.hand_off
    }

    /// Whether it came to the admin listener.
    pub fn is_admin(&self) -> bool {
        self.admin
    }

    /// A request has come.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        let mut state = self.state.lock();
        state.in_flight += 1;
        state.requests += 1;
        InFlight(Arc::clone(self))
    }

    /// The connection is to become a subscriber.
    pub fn put_terms(&self, terms: Box<Terms>) {
        self.state.lock().terms = Some(terms);
    }

    /// What [`put_terms`](Self::put_terms) left.
    pub fn take_terms(&self) -> Option<Box<Terms>> {
        self.state.lock().terms.take()
    }

    /// Ends when the client has taken too long to send the head of its first request, or has sent no further
    /// request for the idle timeout.
    pub async fn idle(&self, http: &Http) {
        let first = Duration::from_secs(http.header_timeout_sec);
        let further = match http.connection_timeout_sec {
            0 => FOREVER,
            seconds => Duration::from_secs(seconds),
        };
        loop {
            let deadline = {
                let state = self.state.lock();
                let allowed = if state.requests == 0 { first } else { further };
                let since = if state.in_flight > 0 { Instant::now() } else { state.idle_since };
                since + allowed
            };
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.in_flight -= 1;
        state.idle_since = Instant::now();
    }
}
