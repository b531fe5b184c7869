//! The instance: everything that requests share, and its life from start to drain.

pub mod lifecycle;
pub mod run;
pub mod setup;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, request::Parts};
use parking_lot::RwLock;
use tokio::sync::watch;

pub use self::lifecycle::Phase;
use crate::{
    admission::{self, Admission, Permit},
    auth::{self, Action, Authenticator, Grant, token_from_request},
    canary::Canary,
    config::{Config, Reloads, Secret},
    delivery::{Command, Cut, Delivery},
    edge::{
        Problem, Reply,
        idempotency::Keys,
        service::Client,
        turn_away::{self, Passing},
    },
    governor::Pressure,
    hub::{Hub, now_ms},
    mesh::SharedMesh,
    metrics::Metrics,
    revocation::{Claim, Revocations},
    telemetry::LogHandle,
    topic::TopicName,
};

/// What requests share.
pub struct Server {
    config: RwLock<Arc<Config>>,
    /// Topics and their logs.
    pub hub: Arc<Hub>,
    /// The shards.
    pub delivery: Delivery,
    /// Places for subscribers.
    pub admission: Arc<Admission>,
    /// Judges tokens.
    pub auth: Authenticator,
    /// Revoked tokens.
    pub revoked: Revocations,
    /// Idempotency keys.
    pub keys: Keys,
    /// Other instances, if there is a mesh.
    mesh: OnceLock<SharedMesh>,
    /// What is short at the moment.
    pub pressure: Pressure,
    /// Why subscribers were turned away.
    pub refusals: Refusals,
    /// Tells whether events are delivered.
    pub canary: Canary,
    /// How often the configuration was read again.
    pub reloads: Arc<Reloads>,
    /// What operators measure.
    pub metrics: Metrics,
    /// Connections that are with hyper.
    pub open_connections: AtomicUsize,
    descriptors: AtomicUsize,
    phase: watch::Sender<Phase>,
    started: Instant,
    logs: LogHandle,
    admin_secret: RwLock<Option<Secret>>,
    debugger: AtomicBool,
}

/// How often subscribers were turned away, by reason.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Passing::ALL.len()]);

/// Why a request on events is not served.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// For good, as it stands.
    Problem(Problem),
    /// For now: why, in words, and for how long.
    Passing(Passing, String, Duration),
}

/// How long those who are turned away are told to wait, unless more is known.
pub(crate) const RETURN_AFTER: Duration = Duration::from_secs(4);

// === impl Server ===

impl Server {
    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read())
    }

    /// Judges the token of a publisher.
    pub async fn authorize(
        &self,
        client: &Client,
        head: &Parts,
        topic: &TopicName,
        action: Action,
    ) -> Result<Grant, Refusal> {
        let config = self.config();
        let mut auth = std::borrow::Cow::Borrowed(&config.auth);
        if action == Action::Publish && !is_own_origin(&head.headers, &config.http.cors_allowed_origins) {
            // A browser sends the visitor's cookie with the POST of any page; only a page that is trusted may use it.
            auth.to_mut().cookie_name = None;
        }
        let token = token_from_request(&head.headers, head.uri.query(), &auth);
        let judged = self.auth.authorize(token.as_deref(), topic, action).await;
        if let Ok(grant) = &judged
            && self.revoked.covers(grant)
        {
            return Err(Problem::unauthorized("the token has been revoked").into());
        }
        judged.map_err(|refusal| {
            tracing::debug!(address = %client.address, %topic, ?action, %refusal, "refused");
            let detail = refusal.to_string();
            match refusal {
                auth::Refusal::Missing | auth::Refusal::Invalid { .. } => {
                    Problem::unauthorized(detail).into()
                }
                auth::Refusal::Forbidden { .. } => Problem::forbidden(detail).into(),
                auth::Refusal::Unavailable { retry_after, .. } => {
                    Refusal::Passing(Passing::Verification, detail, retry_after)
                }
            }
        })
    }

    /// Whether subscribers are served at the moment, and this one may try again already.
    pub fn check_pressure(&self, client: &Client) -> Result<(), Refusal> {
        if *self.phase.borrow() != Phase::Serving {
            return Err(Self::passing(Passing::Draining, "this instance is shutting down; come back"));
        }
        if let Some(why) = self.pressure.refuses() {
            return Err(Self::passing(why, "this instance is busy; come back"));
        }
        self.admission.attempt(client.address).map_err(Self::refused)
    }

    /// Takes a place for a subscriber.
    pub fn admit(&self, client: &Client) -> Result<Permit, Refusal> {
        self.admission.admit(client.address).map_err(Self::refused)
    }

    /// The answer to a request that is not served.
    pub fn refuse(&self, refusal: &Refusal, request: &HeaderMap) -> Reply {
        match refusal {
            Refusal::Problem(problem) => problem.reply(),
            Refusal::Passing(why, detail, wait) => {
                self.refusals.count(*why);
                turn_away::answer(*why, detail, *wait, request, self.config().http.refuse_with)
            }
        }
    }

    /// How many descriptors connections may use.
    pub fn descriptors_for_connections(&self) -> usize {
        self.descriptors.load(Ordering::Relaxed)
    }

    /// What the admin listener asks for.
    pub fn admin_secret(&self) -> Option<Secret> {
        self.admin_secret.read().clone()
    }

    /// Shows the debugger's page to clients too, for development.
    pub fn open_debugger(&self) {
        self.debugger.store(true, Ordering::Relaxed);
    }

    /// Whether clients get the debugger's page.
    pub fn has_debugger(&self) -> bool {
        self.debugger.load(Ordering::Relaxed)
    }

    /// Other instances, if there is a mesh.
    pub fn mesh(&self) -> Option<&SharedMesh> {
        self.mesh.get()
    }

    /// Makes the instance part of a mesh. Only the first call counts.
    pub fn join(&self, mesh: SharedMesh) {
        self.hub.join(Arc::clone(&mesh) as _);
        let _ = self.mesh.set(mesh);
    }

    /// Revokes tokens on all instances: their streams end, and they are refused until `time` is over. `false` if too
    /// many revocations are in force.
    pub fn revoke(&self, claim: Claim, time: Duration) -> bool {
        let told = self.mesh.get().is_none_or(|mesh| mesh.revoke(&claim, time));
        let until_ms = now_ms().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        told && self.revoke_here(claim, until_ms)
    }

    /// Revokes tokens on this instance.
    pub fn revoke_here(&self, claim: Claim, until_ms: u64) -> bool {
        let cut = Arc::new(match &claim {
            Claim::Subject(text) => Cut::Subject(text.clone()),
            Claim::TokenId(text) => Cut::TokenId(text.clone()),
            Claim::KeyId(text) => Cut::KeyId(text.clone()),
        });
        let time = Duration::from_millis(until_ms.saturating_sub(now_ms()));
        let added = self.revoked.add(claim, time);
        self.delivery.tell_all(|| Command::Cut(Arc::clone(&cut)));
        added
    }

    /// Since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn refused(refused: admission::Refused) -> Refusal {
        match refused {
            admission::Refused::TooOften(seconds) => {
                let wait = Duration::from_secs(u64::from(seconds).max(1));
                Refusal::Passing(Passing::Rate, refused.to_string(), wait)
            }
            _ => Self::passing(Passing::Connections, refused.to_string()),
        }
    }

    fn passing(why: Passing, detail: impl Into<String>) -> Refusal {
        Refusal::Passing(why, detail.into(), RETURN_AFTER)
    }
}

/// Whether no page sent a request, or one whose origin is listed by name.
fn is_own_origin(headers: &HeaderMap, allowed: &[String]) -> bool {
    let listed = |origin: &http::HeaderValue| allowed.iter().any(|a| a.as_bytes() == origin.as_bytes());
    headers.get(http::header::ORIGIN).is_none_or(listed)
}

// === impl Refusals ===

impl Refusals {
    /// One more.
    pub fn count(&self, why: Passing) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// So far.
    pub fn of(&self, why: Passing) -> u64 {
        self.0[why as usize].load(Ordering::Relaxed)
    }
}

// === impl Refusal ===

impl Refusal {
    /// The status for those who are not turned away by a stream.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::Problem(problem) => problem.status,
            Self::Passing(why, ..) => why.status(),
        }
    }

    /// As a status, for those who are not turned away by a stream.
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Problem(problem) => problem,
            Self::Passing(why, detail, wait) => Problem::passing(why.status(), detail, wait.as_secs()),
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}
