//! Authentication: who may subscribe to a topic or publish to it.
//!
//! A token is judged by a chain of methods: local keys, published key sets (JWKS), and a webhook. The order
//! of decisions is specified in `docs/authentication.md`. The pure parts (claims, patterns, breaker, ceiling,
//! cache, answers) take the time as an argument; only `fetch`, `webhook` and `jwks::source` touch the
//! network.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use prometheus::Registry;

use crate::{
    config::auth::{Auth, JwtVerifier},
    topic::TopicName,
};

mod cache;
mod claims;
mod failure;
mod fetch;
mod gate;
mod jwks;
mod keys;
mod lru;
pub(crate) mod metrics;
mod pattern;
mod permission;
mod policy;
mod random;
mod request;
mod text;
mod token;
mod webhook;

pub use fetch::TlsError;
pub use keys::{KeyError, known_as};
pub use request::{redact_query, token_from_request};

use failure::Failure;
use metrics::Metrics;
use policy::Policy;

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8192;

/// How requests to webhooks and JWKS introduce themselves.
const USER_AGENT: &str = concat!("revenprox/", env!("CARGO_PKG_VERSION"));

/// What a client wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Receive its events.
    Subscribe,
    /// Send events to it.
    Publish,
}

/// What a granted request is allowed to be: whose it is and until when. Kept for as long as a stream lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// The token's `sub`. None if there is no token, or the webhook did not say.
    pub subject: Option<Box<str>>,
    /// The token's `jti`.
    pub token_id: Option<Box<str>>,
    /// The `kid` of the key that signed the token.
    pub key_id: Option<Box<str>>,
    /// When the grant ends, in unix seconds: the token's `exp`. None: never.
    pub expires_at: Option<u64>,
}

/// Why a request is not granted. The reasons may be shown to clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no token: 401.
    #[error("a token is needed; send it as Authorization: Bearer")]
    Missing,
    /// The token is not accepted: 401.
    #[error("{reason}")]
    Invalid {
        /// Why not.
        reason: Cow<'static, str>,
    },
    /// The token is accepted, but does not allow this: 403.
    #[error("{reason}")]
    Forbidden {
        /// What it does not allow.
        reason: Cow<'static, str>,
    },
    /// Nobody can judge the token just now: 503.
    #[error("{reason}")]
    Unavailable {
        /// Why not.
        reason: Cow<'static, str>,
        /// When to come back. Spread at random already.
        retry_after: Duration,
    },
}

/// Why authentication cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthSetupError {
    /// The settings contradict themselves; see [`Auth::problems`] and [`JwtVerifier::problems`].
    #[error("{path} {message}")]
    Setting {
        /// The key's path, with its section.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// A local key cannot be used.
    #[error("auth.keys[{at}] cannot be used")]
    Key {
        /// Its place in the list.
        at: usize,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// The file with the secret for signed calls cannot be read.
    #[error("jwt_verifier.hmac_secret_file cannot be used")]
    HmacSecret(#[source] KeyError),
    /// The secret in that file is too short.
    #[error("the secret in jwt_verifier.hmac_secret_file has {0} bytes; use at least 16")]
    HmacSecretShort(usize),
    /// The certificates for the webhook cannot be used.
    #[error("the certificates of jwt_verifier cannot be used")]
    WebhookTls(#[source] TlsError),
    /// The certificates for a JWKS cannot be used.
    #[error("the certificates of auth.jwks cannot be used")]
    JwksTls(#[source] TlsError),
    /// JWKS are fetched by tasks, which need a runtime.
    #[error("auth.jwks needs a tokio runtime; set authentication up inside one")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    /// The metrics exist already.
    #[error("the metrics of authentication cannot be registered")]
    Metrics(#[source] prometheus::Error),
}

/// Judges tokens. One per process; shared by reference.
#[derive(Debug)]
pub struct Authenticator {
    required: bool,
    metrics: Arc<Metrics>,
    policy: RwLock<Arc<Policy>>,
    /// Held while settings are loaded, so that two reloads do not cross.
    reloading: Mutex<()>,
}

// === impl Authenticator ===

impl Authenticator {
    /// Sets authentication up: reads key and certificate files and starts to fetch key sets, without waiting
    /// for them.
    ///
    /// With `required = false` every request is granted. A token that a local or fetched key verifies still
    /// gives the grant its subject and expiry; any other token is passed over, and the webhook is not asked.
    ///
    /// Fails if the settings have problems or a file cannot be used. Must run inside a tokio runtime if there
    /// are key sets.
    pub fn new(
        jwt: &JwtVerifier,
        auth: &Auth,
        required: bool,
        registry: &Registry,
    ) -> Result<Self, AuthSetupError> {
        let metrics = Arc::new(Metrics::new(registry).map_err(AuthSetupError::Metrics)?);
        let policy = Arc::new(Policy::new(jwt, auth, required, &metrics, None)?);
        if !required {
            tracing::warn!(
                "AUTHENTICATION IS OFF: everybody may subscribe and publish; never run this in production"
            );
        }
        Ok(Self { required, metrics, policy: RwLock::new(policy), reloading: Mutex::new(()) })
    }

    /// Judges a request: may the bearer of this token do this with this topic?
    ///
    /// Dropping the future is safe at any time.
    pub async fn authorize(
        &self,
        token: Option<&str>,
        topic: &TopicName,
        action: Action,
    ) -> Result<Grant, Refusal> {
        self.metrics.requests.inc();
        let policy = self.policy.read().clone();
        if !self.required {
            return Ok(policy.identify(token));
        }
        let verdict = match token {
            Some(token) => policy.judge(token, topic, action).await,
            None => Err(Failure::Missing),
        };
        verdict.map_err(|failure| {
            self.metrics.failed(&failure);
            tracing::debug!(%topic, %action, reason = failure.label(), "not granted");
            failure.into_refusal()
        })
    }

    /// Remembers a quarter of the webhook's verdicts while memory is short, and as many as configured again
    /// afterwards.
    pub fn shrink(&self, short: bool) {
        let policy = self.policy.read().clone();
        policy.shrink(short);
    }

    /// Puts other settings in force, with files read anew. What is known stays where it is still right:
    /// fetched key sets whose settings are the same, and verdicts, breaker and calls under way of a webhook
    /// whose URL and default permissions are.
    ///
    /// On an error the old settings stay in force. Whether authentication is required does not change.
    pub fn reload(&self, jwt: &JwtVerifier, auth: &Auth) -> Result<(), AuthSetupError> {
        let _one_at_a_time = self.reloading.lock();
        let former = self.policy.read().clone();
        let policy = Policy::new(jwt, auth, self.required, &self.metrics, Some(&former));
        let policy = policy.inspect_err(|_| self.metrics.reloads_failed.inc())?;
        *self.policy.write() = Arc::new(policy);
        Ok(())
    }
}

// === impl Action ===

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
        })
    }
}
