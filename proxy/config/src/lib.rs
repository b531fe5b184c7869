//! The configuration of a proxy: a plain tree of typed sections, and how it is loaded, checked, compared and printed.
//! The proxy reads it; whatever makes configurations for proxies writes it from the same types.
//!
//! The types are the only list of keys. Their JSON schema (kind, default, range, format, whether a key can be
//! changed while the proxy runs, whether it is a secret) is what the loader checks files against, what the
//! reload compares with and what the reference and `config/proxy.toml` are generated from, so none of them can
//! disagree with the code. Three schema extensions carry what JSON Schema has no word for:
//!
//! | extension | meaning | inherited by the keys below |
//! |---|---|---|
//! | `x-reload` | a change takes effect without a restart | yes |
//! | `x-secret` | never printed | yes |
//! | `x-unit` | the unit, for the reference | no |

pub mod admin;
pub mod auth;
mod check;
pub mod discovery;
pub mod distributed_state;
pub mod document;
pub mod env;
mod format;
pub mod history;
pub mod http;
pub mod limits;
mod load;
mod nearest;
pub mod nng;
pub mod problem;
pub mod publish;
pub mod reload;
mod render;
mod rules;
pub mod schema;
pub mod secret;
pub mod source;
pub mod telemetry;
pub mod tls;
mod tree;

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    admin::Admin,
    auth::{Auth, JwtVerifier},
    discovery::Discovery,
    distributed_state::DistributedState,
    history::History,
    http::{BackpressurePolicy, ForwardedHeader, Http, RefuseWith},
    limits::Limits,
    nng::Nng,
    problem::{Place, Problem},
    publish::Publish,
    reload::{Changes, is_reloaded, restart_needed},
    schema::json_schema,
    secret::Secret,
    source::{NamedFiles, Source},
    telemetry::{LogFormat, Telemetry},
    tls::Tls,
};

/// The whole configuration of a proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name of this instance in logs, event ids and the mesh; unique among the instances of a cluster.
    /// Without it, the host name.
    #[schemars(length(min = 1, max = 63), extend("examples" = ["edge-1"]))]
    pub proxy_id: Option<String>,
    /// The least severe log lines that are written.
    #[schemars(extend("x-reload" = true))]
    pub log_level: LogLevel,
    /// Whether `GET /metrics` answers.
    #[schemars(extend("x-reload" = true))]
    pub metrics_enabled: bool,
    /// The listener for clients, and what one client may ask of it.
    pub http: Http,
    /// How tokens are verified by a webhook.
    #[schemars(extend("x-reload" = true))]
    pub jwt_verifier: JwtVerifier,
    /// How tokens are verified here, with local keys.
    #[schemars(extend("x-reload" = true))]
    pub auth: Auth,
    /// The events kept for subscribers that come back with `Last-Event-ID`.
    #[schemars(extend("x-reload" = true))]
    pub history: History,
    /// What publishers may send.
    #[schemars(extend("x-reload" = true))]
    pub publish: Publish,
    /// What the whole process may use before it turns newcomers away.
    #[schemars(extend("x-reload" = true))]
    pub limits: Limits,
    /// A second listener, for operators only.
    pub admin: Admin,
    /// The listener for clients over TLS. Without this section there is none.
    pub tls: Option<Tls>,
    /// The mesh between instances. Without this section an instance is alone.
    pub nng: Option<Nng>,
    /// What instances know of each other.
    pub distributed_state: DistributedState,
    /// How other instances are found.
    pub discovery: Discovery,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

/// The least severe log lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything, with one line per connection.
    Debug,
    /// What an operator wants to know of a healthy proxy.
    #[default]
    Info,
    /// What an operator should look at.
    Warn,
    /// What does not work.
    Error,
}

/// The configuration of `--dev`: reachable from this machine only, and without authentication.
pub fn dev_config() -> Config {
    let mut config = Config::default();
    config.http.bind_address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    config.jwt_verifier.require_authentication = false;
    // Whoever presses Ctrl-C is not to wait for open streams.
    config.http.drain_window_sec = 0;
    config
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            proxy_id: None,
            log_level: LogLevel::default(),
            metrics_enabled: true,
            http: Http::default(),
            jwt_verifier: JwtVerifier::default(),
            auth: Auth::default(),
            history: History::default(),
            publish: Publish::default(),
            limits: Limits::default(),
            admin: Admin::default(),
            tls: None,
            nng: None,
            distributed_state: DistributedState::default(),
            discovery: Discovery::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Config {
    /// The name of this instance: `proxy_id`, or the host name.
    pub fn instance_name(&self) -> String {
        match &self.proxy_id {
            Some(id) => id.clone(),
            None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }
}

// === impl LogLevel ===

impl LogLevel {
    /// The level as a `tracing` filter directive.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
