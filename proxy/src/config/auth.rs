//! The sections `[jwt_verifier]` and `[auth]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How tokens are verified by a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JwtVerifier {
    /// The webhook that is asked.
    #[schemars(extend("examples" = ["https://auth.example.com/verify"], "format" = "http-url"))]
    pub webhook_url: Option<String>,
    /// How long one call may take.
    #[schemars(range(min = 1, max = 60_000), extend("x-unit" = "milliseconds"))]
    pub timeout_ms: u64,
    /// How often a failed call is tried again.
    #[schemars(range(max = 20))]
    pub retry_attempts: u32,
    /// How long a verdict is remembered.
    #[schemars(range(max = 86_400), extend("x-unit" = "seconds"))]
    pub cache_ttl_sec: u64,
    /// How many verdicts are remembered.
    #[schemars(range(max = 100_000_000))]
    pub cache_max_size: usize,
    /// How many failures in a row open the circuit breaker.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub circuit_breaker_threshold: u32,
    /// How long the circuit breaker stays open before one trial call.
    #[schemars(range(min = 1, max = 86_400), extend("x-unit" = "seconds"))]
    pub circuit_breaker_timeout_sec: u64,
    /// How many calls a second are made at most; 0 sets no limit.
    #[schemars(range(max = 1_000_000))]
    pub rate_limit_per_sec: u32,
    /// Whether subscribers and publishers need a token. `false` is for development only.
    pub require_authentication: bool,
}

/// How tokens are verified here, with local keys.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {}

// === impl JwtVerifier ===

impl Default for JwtVerifier {
    fn default() -> Self {
        Self {
            webhook_url: None,
            timeout_ms: 5000,
            retry_attempts: 3,
            cache_ttl_sec: 300,
            cache_max_size: 10_000,
            circuit_breaker_threshold: 10,
            circuit_breaker_timeout_sec: 60,
            rate_limit_per_sec: 1000,
            require_authentication: true,
        }
    }
}

impl JwtVerifier {
    /// What no schema can say of a single key.
    pub fn problems(&self) -> Vec<(String, String)> {
        if self.require_authentication && self.webhook_url.is_none() {
            return vec![("webhook_url".to_owned(), "is needed to verify tokens".to_owned())];
        }
        Vec::new()
    }
}

// === impl Auth ===

impl Auth {
    /// What no schema can say of a single key.
    pub fn problems(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
