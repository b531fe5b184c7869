//! From a configuration to a server, and from a changed configuration to a changed server.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use prometheus::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;

use super::{Phase, Refusals, Server};
use crate::{
    admission::{Admission, AdmissionLimits},
    auth::{AuthSetupError, Authenticator},
    canary::Canary,
    config::{Config, LogLevel},
    delivery::{Command, Delivery, Settings, Stats},
    edge::idempotency::Keys,
    event::Origin,
    governor::Pressure,
    hub::{Hub, Retention},
    log::Bounds,
    metrics::Metrics,
    revocation::Revocations,
    telemetry::LogHandle,
};

/// Descriptors for anything but connections: listeners, epolls, key files, webhook calls.
const DESCRIPTORS_RESERVED: u64 = 64;

/// Why an instance cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The operating system refused something.
    #[error("cannot start delivery: {0}")]
    Delivery(#[source] io::Error),
    /// The secret of the admin listener cannot be read.
    #[error("cannot read admin.token_file: {0}")]
    AdminToken(#[source] io::Error),
    /// Authentication cannot be set up as configured.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// Metrics are registered already.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

// === impl Server ===

impl Server {
    /// Sets an instance up. It serves nobody until listeners are started.
    pub fn new(config: Config, logs: LogHandle, registry: &Registry) -> Result<Arc<Self>, SetupError> {
        let shards = threads(config.http.thread_pool_size);
        let inboxes = Delivery::inboxes(shards).map_err(SetupError::Delivery)?;
        let hub = Arc::new(Hub::new(Origin::random(), retention(&config), inboxes.clone()));
        if config.telemetry.otlp_endpoint.is_some() {
            hub.traced().switch_on();
        }
        let stats = Arc::new(Stats::default());
        let delivery = Delivery::start(inboxes, &hub, &delivery_settings(&config), &stats)
            .map_err(SetupError::Delivery)?;
        let required = config.jwt_verifier.require_authentication;
        let auth = Authenticator::new(&config.jwt_verifier, &config.auth, required, registry)?;
        let descriptors = raise_descriptor_limit(config.limits.max_file_descriptors);
        let server = Arc::new(Self {
            hub,
            delivery,
            admission: Admission::new(admission_limits(&config)),
            auth,
            revoked: Revocations::default(),
            keys: Keys::new(),
            mesh: OnceLock::new(),
            pressure: Pressure::default(),
            refusals: Refusals::default(),
            canary: Canary::new(),
            reloads: Arc::default(),
            metrics: Metrics::new(registry),
            open_connections: AtomicUsize::new(0),
            descriptors: AtomicUsize::new(descriptors),
            phase: watch::Sender::new(Phase::Serving),
            started: Instant::now(),
            logs,
            admin_secret: RwLock::new(config.admin.secret().map_err(SetupError::AdminToken)?),
            debugger: AtomicBool::new(false),
            config: RwLock::new(Arc::new(config)),
        });
        server.metrics.watch(&server)?;
        Ok(server)
    }

    /// Keeps a quarter of the history and of the remembered verdicts while memory is short, and all that is configured
    /// otherwise.
    pub fn apply_pressure(&self) {
        let shrink = self.pressure.shrinks();
        let mut kept = retention(&self.config());
        if shrink {
            kept.total_bytes /= SHRUNK_TO;
            self.keys.clear();
        }
        self.auth.shrink(shrink);
        self.hub.set_retention(kept);
    }

    /// Writes what is at least this severe to the log, until the configuration changes.
    pub fn set_log_level(&self, level: LogLevel) {
        self.logs.set_level(level);
    }

    /// What is written to the log at present.
    pub fn log_level(&self) -> LogLevel {
        self.logs.level()
    }

    /// Puts a changed configuration into force, as far as that is possible without a restart.
    pub fn reconfigure(&self, config: Arc<Config>) {
        if let Err(error) = self.auth.reload(&config.jwt_verifier, &config.auth) {
            tracing::error!(%error, "authentication keeps its old settings");
        }
        match config.admin.secret() {
            Ok(secret) => *self.admin_secret.write() = secret,
            Err(error) => tracing::error!(%error, "the admin listener keeps its old token"),
        }
        self.logs.set_level(config.log_level);
        self.admission.set_limits(admission_limits(&config));
        let settings = Arc::new(delivery_settings(&config));
        self.delivery.tell_all(|| Command::Settings(Arc::clone(&settings)));
        *self.config.write() = config;
        self.apply_pressure();
    }
}

/// The part of the history that is kept while memory is short.
const SHRUNK_TO: u64 = 4;

/// The number of threads for a setting in which 0 is one for each CPU.
pub fn threads(setting: usize) -> usize {
    match setting {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => some,
    }
}

fn delivery_settings(config: &Config) -> Settings {
    let http = &config.http;
    Settings {
        keepalive: Duration::from_secs(http.keepalive_interval_sec),
        queue_events: http.max_message_queue_size as u64,
        backpressure: http.backpressure_policy,
        block: Duration::from_millis(http.backpressure_block_ms),
        stall: Duration::from_secs(http.connection_timeout_sec),
        expiry_warning: Duration::from_secs(config.auth.expiry_warning_sec),
        retry: Duration::from_millis(http.retry_ms),
    }
}

fn retention(config: &Config) -> Retention {
    let history = &config.history;
    Retention {
        per_topic: Bounds {
            events: history.max_events_per_topic as u64,
            bytes: history.max_bytes_per_topic as u64,
            age_ms: history.max_age_sec * 1000,
        },
        total_bytes: history.max_total_mb as u64 * 1024 * 1024,
        queue_events: config.http.max_message_queue_size as u64,
    }
}

fn admission_limits(config: &Config) -> AdmissionLimits {
    let http = &config.http;
    AdmissionLimits {
        connections: http.max_connections as u64,
        per_address: u32::try_from(http.max_connections_per_ip).unwrap_or(u32::MAX),
        rate: http.rate_limit_per_ip,
        window_s: u32::try_from(http.rate_limit_window_sec).unwrap_or(u32::MAX),
    }
}

/// Raises the soft limit to the hard one and returns how many descriptors connections may use.
fn raise_descriptor_limit(configured: u64) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let wanted = hard.min(configured);
    if limit.current.is_some_and(|soft| soft < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, wanted, "cannot raise the limit of open files");
        }
    }
    let usable = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).min(configured);
    usize::try_from(usable.saturating_sub(DESCRIPTORS_RESERVED)).unwrap_or(usize::MAX)
}
