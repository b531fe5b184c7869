//! What operators and probes ask: health and metrics.

use std::sync::Arc;

use http::{Method, StatusCode, request::Parts};
use serde_json::json;

use crate::{
    edge::{
        Problem, Reply,
        reply::{json_reply, text_reply},
    },
    server::{Phase, Server},
};

/// Answers `/health`, `/livez`, `/readyz` and `/metrics`; `None` for any other path.
pub fn answer(server: &Arc<Server>, head: &Parts) -> Option<Reply> {
    let known = ["/health", "/livez", "/readyz", "/metrics"].contains(&head.uri.path());
    if known && head.method != Method::GET && head.method != Method::HEAD {
        return Some(Problem::method_not_allowed("GET, HEAD").reply());
    }
    match head.uri.path() {
        "/health" => Some(health(server)),
        "/livez" => Some(text_reply(StatusCode::OK, "text/plain", "ok\n")),
        "/readyz" => Some(ready(server)),
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

fn ready(server: &Server) -> Reply {
    if server.phase() != Phase::Serving {
        return text_reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n");
    }
    text_reply(StatusCode::OK, "text/plain", "ok\n")
}
