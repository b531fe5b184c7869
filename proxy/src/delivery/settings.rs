//! What can be set about delivery while it runs.

use std::time::Duration;

pub use crate::config::BackpressurePolicy as Backpressure;

/// Settings of all shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The longest silence on a stream before a keepalive comment.
    pub keepalive: Duration,
    /// How many events a subscriber may be behind.
    pub queue_events: u64,
    /// What happens then.
    pub backpressure: Backpressure,
    /// How long publishers wait for a slow subscriber under [`Backpressure::Block`].
    pub block: Duration,
    /// How long a subscriber that has something to get may take nothing, or zero for any time.
    pub stall: Duration,
    /// How long before its token expires a subscriber is told, or zero for never.
    pub expiry_warning: Duration,
    /// The middle of the range that reconnect delays are drawn from when the proxy ends a stream.
    pub retry: Duration,
}
