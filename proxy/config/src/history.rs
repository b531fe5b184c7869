//! The section `[history]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The events kept for subscribers that come back with `Last-Event-ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// How many events of one topic are kept; 0 keeps none and turns replay off.
    #[schemars(range(max = 10_000_000))]
    pub max_events_per_topic: usize,
    /// How much of one topic is kept.
    #[schemars(range(min = 1024, max = 1_073_741_824), extend("x-unit" = "bytes"))]
    pub max_bytes_per_topic: usize,
    /// How long an event is kept.
    #[schemars(range(min = 1, max = 2_592_000), extend("x-unit" = "seconds"))]
    pub max_age_sec: u64,
    /// How much is kept of all topics together.
    #[schemars(range(min = 1, max = 1_048_576), extend("x-unit" = "MiB"))]
    pub max_total_mb: usize,
    /// How many instances of a mesh keep the history of each topic, whether or not they have subscribers for it. As many less
    /// one can fail at a time without losing a replicated event; a number above that of the instances means all. Give all
    /// instances the same.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-reload" = false))]
    pub keepers: usize,
    /// How long a subscriber that comes back waits for what other instances have kept, before it is told of a gap instead.
    #[schemars(range(max = 60_000), extend("x-unit" = "milliseconds"))]
    pub resume_wait_ms: u64,
    /// How long a new instance is not ready, once it has met the others, while they have not handed it all that it keeps from now
    /// on.
    #[schemars(range(max = 3_600_000), extend("x-unit" = "milliseconds", "x-reload" = false))]
    pub ready_timeout_ms: u64,
}

// === impl History ===

impl Default for History {
    fn default() -> Self {
        Self {
            max_events_per_topic: 1000,
            max_bytes_per_topic: 1_048_576,
            max_age_sec: 300,
            max_total_mb: 128,
            keepers: 2,
            resume_wait_ms: 2_000,
            ready_timeout_ms: 30_000,
        }
    }
}

impl History {
    /// Whether anything is kept at all.
    pub fn is_on(&self) -> bool {
        self.max_events_per_topic > 0
    }

    /// What no schema can say of a single key.
    pub fn problems(&self) -> Vec<(String, String)> {
        if self.max_bytes_per_topic.div_ceil(1_048_576) <= self.max_total_mb {
            return Vec::new();
        }
        let text = format!(
            "{} bytes for one topic are more than the {} MiB for all; lower it, or raise history.max_total_mb",
            self.max_bytes_per_topic, self.max_total_mb
        );
        vec![("max_bytes_per_topic".to_owned(), text)]
    }
}
