//! Logs, the level at which they are written, and traces.

pub mod export;
pub mod trace;

use std::io::IsTerminal as _;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::filter_fn, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

pub use self::export::{TraceError, Traces};
use crate::config::{Config, LogFormat, LogLevel};

/// Changes the level of a running process.
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Mutex<LogLevel>,
}

/// Starts to write logs to the standard error, and spans to `traces`. Does nothing but return a handle if
/// somebody else has.
pub fn init(config: &Config, traces: Option<&Traces>) -> LogHandle {
    let (filter, handle) = reload::Layer::new(filter(config.log_level));
    let format = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let format = match config.telemetry.log_format {
        LogFormat::Json => format.json().flatten_event(true).boxed(),
        LogFormat::Pretty => format.boxed(),
    };
    // Each has a filter of its own: the level of logs does not decide what is traced.
    let spans = traces.map(|traces| {
        let layer = tracing_opentelemetry::layer()
            .with_tracer(traces.tracer())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false);
        let ours = filter_fn(|metadata| metadata.target() == trace::TARGET);
        layer.with_filter(ours.with_max_level_hint(LevelFilter::INFO))
    });
    let registry = tracing_subscriber::registry().with(format.with_filter(filter)).with(spans);
    if registry.try_init().is_err() {
        tracing::debug!("logs are written already");
    }
    LogHandle { filter: handle, level: Mutex::new(config.log_level) }
}

// === impl LogHandle ===

impl LogHandle {
    /// Writes what is at least this severe from now on.
    pub fn set_level(&self, level: LogLevel) {
        match self.filter.reload(filter(level)) {
            Ok(()) => *self.level.lock() = level,
            Err(error) => tracing::warn!(%error, "the log level stays as it was"),
        }
    }

    /// The level in force.
    pub fn level(&self) -> LogLevel {
        *self.level.lock()
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
