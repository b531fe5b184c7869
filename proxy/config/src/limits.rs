//! The section `[limits]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the whole process may use before it turns newcomers away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The memory in use from which subscribers are turned away, caches shrink and, last, the slowest
    /// subscribers are closed; 0 sets no limit.
    #[schemars(range(max = 16_777_216), extend("x-unit" = "MiB"))]
    pub max_memory_mb: usize,
    /// The share of the machine's CPU time, all cores together, from which subscribers are turned away; 0 sets
    /// no limit.
    #[schemars(range(max = 100), extend("x-unit" = "percent"))]
    pub max_cpu_percent: u8,
    /// The traffic sent to subscribers, in megabits a second, from which new ones are turned away; 0 sets no
    /// limit.
    #[schemars(range(max = 1_000_000), extend("x-unit" = "Mbit/s"))]
    pub max_network_mbps: u64,
    /// How many file descriptors the proxy asks the system for at start; it takes what the hard limit allows,
    /// and turns subscribers away when few are left.
    #[schemars(range(min = 64, max = 1_000_000_000), extend("x-reload" = false))]
    pub max_file_descriptors: u64,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_memory_mb: 1024,
            max_cpu_percent: 80,
            max_network_mbps: 1000,
            max_file_descriptors: 1_000_000,
        }
    }
}
