//! What operators and probes ask: health and metrics.

use std::sync::Arc;

use http::{Method, StatusCode, request::Parts};
use serde_json::json;

use crate::{
    edge::{
        Problem, Reply,
        reply::{json_reply, text_reply},
    },
    metrics::CONTENT_TYPE,
    server::{Phase, Server},
};

/// Answers `/health`, `/livez`, `/readyz` and `/metrics`; `None` for any other path.
pub async fn answer(server: &Arc<Server>, head: &Parts) -> Option<Reply> {
    let known = ["/health", "/livez", "/readyz", "/metrics"].contains(&head.uri.path());
    if known && head.method != Method::GET && head.method != Method::HEAD {
        return Some(Problem::method_not_allowed("GET, HEAD").reply());
    }
    match head.uri.path() {
        "/health" => Some(health(server)),
        "/livez" => Some(live(server)),
        "/readyz" => Some(ready(server).await),
        "/metrics" if server.config().metrics_enabled => Some(metrics(server).await),
        _ => None,
    }
}

fn health(server: &Server) -> Reply {
    let body = json!({
        "status": "healthy",
        "connections": server.admission.connections(),
        "uptime_seconds": server.uptime().as_secs(),
    });
    json_reply(StatusCode::OK, &body)
}

/// A shard that is gone does not come back, so only a new process helps.
fn live(server: &Server) -> Reply {
    if server.delivery.is_alive() {
        text_reply(StatusCode::OK, "text/plain", "ok\n")
    } else {
        text_reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "a delivery shard has ended\n")
    }
}

async fn metrics(server: &Arc<Server>) -> Reply {
    let compat = server.config().telemetry.compat_metric_names;
    let scraped = Arc::clone(server);
    // What the operating system knows is in files.
    let text = tokio::task::spawn_blocking(move || scraped.metrics.render(compat)).await;
    match text {
        Ok(Ok(text)) => text_reply(StatusCode::OK, CONTENT_TYPE, text),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> Reply {
    tracing::error!(%error, "metrics cannot be written");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written; see the log").reply()
}

async fn ready(server: &Arc<Server>) -> Reply {
    if server.phase() != Phase::Serving {
        return text_reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n");
    }
    if let Some(missing) = server.mesh().and_then(|mesh| mesh.missing()) {
        return text_reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{missing}\n"));
    }
    match server.canary.sing(&server.hub, &server.delivery).await {
        Ok(_) => text_reply(StatusCode::OK, "text/plain", "ok\n"),
        Err(why) => text_reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{why}\n")),
    }
}
