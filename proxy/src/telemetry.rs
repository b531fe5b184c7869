//! Logs, and the level at which they are written.

use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::config::{Config, LogFormat, LogLevel};

/// Changes the level of a running process.
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

/// Starts to write logs to the standard error. Does nothing but return a handle if somebody else has.
pub fn init(config: &Config) -> LogHandle {
    let (filter, handle) = reload::Layer::new(filter(config.log_level));
    let registry = tracing_subscriber::registry().with(filter);
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match config.telemetry.log_format {
        LogFormat::Json => registry.with(format.json().flatten_event(true)).try_init(),
        LogFormat::Pretty => registry.with(format).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logs are written already");
    }
    LogHandle(handle)
}

// === impl LogHandle ===

impl LogHandle {
    /// Writes what is at least this severe from now on.
    pub fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::warn!(%error, "the log level stays as it was");
        }
    }
}

/// Libraries are heard from `warn` on only: their `info` is about themselves.
fn filter(level: LogLevel) -> EnvFilter {
    let own = match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let libraries = if level == LogLevel::Error { "error" } else { "warn" };
    EnvFilter::new(format!("{libraries},revenprox_proxy={own}"))
}
