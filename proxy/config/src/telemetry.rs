//! The section `[telemetry]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Logs and traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// How log lines are written.
    pub log_format: LogFormat,
    /// The OpenTelemetry collector that traces are sent to, such as `http://127.0.0.1:4318`. Without it no
    /// traces are made.
    #[schemars(extend("examples" = ["http://127.0.0.1:4318"], "format" = "http-url"))]
    pub otlp_endpoint: Option<String>,
    /// The share of publishes that are traced, if the publisher's own `traceparent` does not decide it.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub otlp_sample_ratio: f64,
    /// The service's name in traces.
    #[schemars(length(min = 1, max = 255))]
    pub service_name: String,
    /// Whether metrics that differ from the names of earlier proxies of this kind are written under those too.
    pub compat_metric_names: bool,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

// === impl Telemetry ===

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log_format: LogFormat::default(),
            otlp_endpoint: None,
            otlp_sample_ratio: 1.0,
            service_name: "revenprox".to_owned(),
            compat_metric_names: false,
        }
    }
}
