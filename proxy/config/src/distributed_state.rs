//! The section `[distributed_state]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What instances know of each other: interest in topics, revocations, who is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DistributedState {
    /// How often instances exchange who else is there. Interest and facts are compared with every heartbeat.
    #[schemars(range(min = 1, max = 3600), extend("x-unit" = "seconds"))]
    pub gossip_interval_sec: u64,
    /// For how many topics with subscribers on one instance its filter is made. More still work and cost others
    /// forwards in vain. The filter takes the size that the present number of topics needs.
    #[schemars(range(min = 1024, max = 100_000_000), extend("x-unit" = "topics"))]
    pub bloom_filter_capacity: usize,
    /// The share of topics without subscribers on an instance that are forwarded to it all the same.
    #[schemars(range(min = 0.0001, max = 0.5))]
    pub bloom_filter_fpr: f64,
    /// How many changes of the interest and of facts may wait for one instance. What is beyond is found by comparison.
    #[schemars(range(min = 16, max = 1_000_000), extend("x-unit" = "changes"))]
    pub max_subscription_events: usize,
    /// An instance that nothing is heard of for so long is taken for gone.
    #[schemars(range(min = 1, max = 3600), extend("x-unit" = "seconds"))]
    pub peer_timeout_sec: u64,
    /// What is known of an instance that is gone is kept for so long, in case it returns.
    #[schemars(range(min = 1, max = 86_400), extend("x-unit" = "seconds"))]
    pub vector_clock_cleanup_interval_sec: u64,
}

// === impl DistributedState ===

impl Default for DistributedState {
    fn default() -> Self {
        Self {
            gossip_interval_sec: 30,
            bloom_filter_capacity: 1_000_000,
            bloom_filter_fpr: 0.01,
            max_subscription_events: 1024,
            peer_timeout_sec: 3,
            vector_clock_cleanup_interval_sec: 60,
        }
    }
}
