//! The section `[publish]`.

use revenprox_mesh::identity::Address;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What publishers may send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// The largest `data` of one event; a larger one is answered with 413.
    #[schemars(range(min = 1, max = 1_073_741_824), extend("x-unit" = "bytes"))]
    pub max_event_bytes: usize,
    /// How many events one batch may have.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_batch_events: usize,
    /// How long an `Idempotency-Key` is remembered; 0 ignores the header.
    #[schemars(range(max = 86_400), extend("x-unit" = "seconds"))]
    pub idempotency_ttl_sec: u64,
    /// How many `Idempotency-Key`s are remembered; beyond it, the oldest is forgotten first.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub idempotency_max_keys: usize,
    /// How long a publish with `ack=replicated` waits for another instance that keeps the topic, before it is answered
    /// with 503.
    #[schemars(range(min = 1, max = 60_000), extend("x-unit" = "milliseconds"))]
    pub replicated_timeout_ms: u64,
    /// Where back ends may publish over NNG (REQ): `tcp://HOST:PORT` or `ipc:///PATH`. Without it, over HTTP only. What
    /// is sent there is not encrypted, the token included.
    #[schemars(extend("examples" = ["ipc:///run/revenprox/publish"], "x-reload" = false))]
    pub nng_listen: Option<String>,
}

// === impl Publish ===

impl Default for Publish {
    fn default() -> Self {
        Self {
            max_event_bytes: 262_144,
            max_batch_events: 1000,
            idempotency_ttl_sec: 300,
            idempotency_max_keys: 100_000,
            replicated_timeout_ms: 5_000,
            nng_listen: None,
        }
    }
}

impl Publish {
    /// What no schema can say of a single key.
    pub fn problems(&self) -> Vec<(String, String)> {
        let wrong = self.nng_listen.as_deref().and_then(|text| Address::new(text).err());
        wrong.map(|error| ("nng_listen".to_owned(), error.to_string())).into_iter().collect()
    }
}
