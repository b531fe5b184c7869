//! Section `[jwt_verifier]`: the webhook that judges tokens.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// Section `[jwt_verifier]`: the webhook that judges tokens, and what protects both sides from overload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JwtVerifier {
    /// Where tokens are sent: `POST` with `{"jwt": "…", "topic": "<32 hex digits>"}`, answered by JSON with a
    /// boolean `valid`. Unset: no webhook. Redirects are not followed.
    #[schemars(extend("examples" = ["https://auth.example.com/verify"]))]
    pub webhook_url: Option<String>,
    /// How long one call may take.
    #[schemars(range(min = 10, max = 60_000), extend("x-unit" = "milliseconds"))]
    pub timeout_ms: u64,
    /// How many times a failed call is made again; 3 means up to four calls.
    #[schemars(range(max = 10))]
    pub retry_attempts: u32,
    /// The first pause before a call is made again; it doubles each time, and the actual pause is a random part
    /// of it.
    #[schemars(range(min = 1, max = 10_000), extend("x-unit" = "milliseconds"))]
    pub retry_backoff_ms: u64,
    /// The longest such pause; not shorter than `retry_backoff_ms`.
    #[schemars(range(min = 1, max = 60_000), extend("x-unit" = "milliseconds"))]
    pub retry_backoff_max_ms: u64,
    /// How long a granted verdict is remembered, never past the token's `exp`; 0 remembers none.
    #[schemars(range(max = 86_400), extend("x-unit" = "seconds"))]
    pub cache_ttl_sec: u64,
    /// How many granted verdicts are remembered (about 300 bytes each); the least recently used goes first.
    /// 0 remembers none.
    #[schemars(range(max = 10_000_000))]
    pub cache_max_size: usize,
    /// How long a refusal is remembered; 0 remembers none.
    #[schemars(range(max = 3600), extend("x-unit" = "seconds"))]
    pub negative_cache_ttl_sec: u64,
    /// How many refusals are remembered, apart from the granted verdicts; 0 remembers none.
    #[schemars(range(max = 10_000_000))]
    pub negative_cache_max_size: usize,
    /// After how many failed calls in a row the circuit breaker opens.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub circuit_breaker_threshold: u32,
    /// How long the breaker stays open before one trial call.
    #[schemars(range(min = 1, max = 3600), extend("x-unit" = "seconds"))]
    pub circuit_breaker_timeout_sec: u64,
    /// The most calls per second, repeated ones included; 0 sets no ceiling.
    pub rate_limit_per_sec: u32,
    /// The most verifications under way at once.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_in_flight: usize,
    /// How many idle connections to the webhook are kept; 0 opens one for each call.
    #[schemars(range(max = 4096))]
    pub pool_max_idle: usize,
    /// After how long an idle connection to the webhook is closed.
    #[schemars(range(min = 1, max = 3600), extend("x-unit" = "seconds"))]
    pub pool_idle_timeout_sec: u64,
    /// Signs each call: `X-RevenProx-Timestamp` has the unix time in seconds, and `X-RevenProx-Signature` is
    /// `v1=` and the lowercase hex HMAC-SHA-256, under this secret, of the timestamp, a full stop and the
    /// body. At least 16 bytes.
    #[schemars(extend("examples" = ["a long random text"]))]
    pub hmac_secret: Option<Secret>,
    /// A file with that secret; one line end after it is not part of it.
    #[schemars(extend("examples" = ["/run/secrets/revenprox-webhook"]))]
    pub hmac_secret_file: Option<PathBuf>,
    /// A PEM file with the client certificate chain for mutual TLS. Needs `client_key_file`.
    #[schemars(extend("examples" = ["/etc/revenprox/webhook-client.crt"]))]
    pub client_cert_file: Option<PathBuf>,
    /// A PEM file with the private key of that certificate.
    #[schemars(extend("examples" = ["/etc/revenprox/webhook-client.key"]))]
    pub client_key_file: Option<PathBuf>,
    /// A PEM file with certificate authorities trusted beside those of the system.
    #[schemars(extend("examples" = ["/etc/revenprox/webhook-ca.crt"]))]
    pub ca_file: Option<PathBuf>,
    /// Whether a token is needed. `false` grants everything to everybody, and is for development only.
    #[schemars(extend("x-reload" = false))]
    pub require_authentication: bool,
}

// === impl JwtVerifier ===

impl Default for JwtVerifier {
    fn default() -> Self {
        Self {
            webhook_url: None,
            timeout_ms: 5000,
            retry_attempts: 3,
            retry_backoff_ms: 100,
            retry_backoff_max_ms: 2000,
            cache_ttl_sec: 300,
            cache_max_size: 10_000,
            negative_cache_ttl_sec: 5,
            negative_cache_max_size: 2000,
            circuit_breaker_threshold: 10,
            circuit_breaker_timeout_sec: 60,
            rate_limit_per_sec: 1000,
            max_in_flight: 256,
            pool_max_idle: 32,
            pool_idle_timeout_sec: 60,
            hmac_secret: None,
            hmac_secret_file: None,
            client_cert_file: None,
            client_key_file: None,
            ca_file: None,
            require_authentication: true,
        }
    }
}
