//! The admin listener: what operators see and do. It is off unless configured and never shares a port with clients.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode, header::AUTHORIZATION, request::Parts};
use hyper::body::Incoming;
use revenprox_mesh::facts::TEXT_BYTES_MAX;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout_at};

use crate::{
    config::{LogLevel, Secret},
    debug,
    delivery::{Command, SubscriberInfo},
    edge::{Problem, Reply, publish::read_body, query, reply::json_reply},
    ops,
    revocation::Claim,
    server::Server,
};

/// How many topics or connections are listed unless `?limit=` says otherwise, and at most.
const LISTED: usize = 1_000;
const LISTED_MAX: usize = 100_000;

/// How long shards may take to describe their connections.
const LIST_TIME: Duration = Duration::from_secs(2);

/// The largest body of a request.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// How long a revocation lasts if nothing else is said: longer than a token should live.
const REVOKED_FOR_S: u64 = 86_400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    sub: Option<String>,
    jti: Option<String>,
    kid: Option<String>,
    #[serde(default)]
    expires_in_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    level: LogLevel,
}

/// Answers a request on the admin listener.
pub(crate) async fn answer(server: &Arc<Server>, head: &Parts, body: Incoming) -> Reply {
    let config = server.config();
    if let Err(problem) = authorize(server.admin_secret().as_ref(), head) {
        let mut reply = problem.reply();
        debug::challenge(head, &mut reply);
        return reply;
    }
    if let Some(reply) = ops::answer(server, head).await {
        return reply;
    }
    if let Some(reply) = debug::answer(debug::Listener::Admin(config.http.bind_address), head) {
        return reply;
    }
    let answered = match (&head.method, head.uri.path()) {
        (&Method::GET, "/admin/topics") => topics(server, head),
        (&Method::GET, "/admin/connections") => connections(server, head).await,
        (&Method::GET, "/admin/peers") => Ok(peers(server)),
        (&Method::GET, "/admin/config") => Ok(config.effective()),
        (&Method::GET, "/admin/log-level") => Ok(json!({ "level": server.log_level() })),
        (&Method::PUT, "/admin/log-level") => set_log_level(server, head, body).await,
        (&Method::POST, "/admin/drain") => Ok(json!({ "started": server.start_drain() })),
        (&Method::POST, "/admin/revoke") => revoke(server, head, body).await,
        (_, "/admin/topics" | "/admin/connections" | "/admin/config" | "/admin/peers") => {
            Err(Problem::method_not_allowed("GET"))
        }
        (_, "/admin/log-level") => Err(Problem::method_not_allowed("GET, PUT")),
        (_, "/admin/drain" | "/admin/revoke") => Err(Problem::method_not_allowed("POST")),
        _ => Err(Problem::new(StatusCode::NOT_FOUND, "the admin listener has nothing there")),
    };
    match answered {
        Ok(value) => json_reply(StatusCode::OK, &value),
        Err(problem) => problem.reply(),
    }
}

fn authorize(secret: Option<&Secret>, head: &Parts) -> Result<(), Problem> {
    let Some(secret) = secret else { return Ok(()) };
    let bearer =
        head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let given = bearer.map(str::to_owned).or_else(|| debug::password(head));
    // Digests are compared, so that the time tells nothing of how much of the secret was right.
    let digest = |text: &str| <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes());
    if given.is_some_and(|given| digest(&given) == digest(secret.expose())) {
        return Ok(());
    }
    Err(Problem::unauthorized("the admin listener asks for the token of [admin]"))
}

fn topics(server: &Server, head: &Parts) -> Result<Value, Problem> {
    let topics = server.hub.some_topics(limit(head)?);
    let describe = |topic: &Arc<crate::hub::Topic>| {
        let (kept, oldest) =
            topic.read(|log| (log.head().seq - log.tail().seq, log.oldest())).unwrap_or_default();
        json!({
            "name": topic.name().as_str(),
            "id": topic.id().to_string(),
            "subscribers": topic.subscribers(),
            "events_kept": kept,
            "oldest_event": oldest.map(|id| id.to_string()),
        })
    };
    Ok(json!({
        "total": server.hub.topic_count(),
        "topics": topics.iter().map(describe).collect::<Vec<_>>(),
    }))
}

async fn connections(server: &Server, head: &Parts) -> Result<Value, Problem> {
    let limit = limit(head)?;
    let (sender, mut receiver) = mpsc::channel(limit);
    server.delivery.tell_all(|| Command::List(sender.clone()));
    drop(sender);
    let deadline = tokio::time::Instant::now() + LIST_TIME;
    let mut found: Vec<SubscriberInfo> = Vec::new();
    while found.len() < limit {
        match timeout_at(deadline, receiver.recv()).await {
            Ok(Some(info)) => found.push(info),
            _ => break,
        }
    }
    Ok(json!({ "total": server.admission.connections(), "connections": found }))
}

fn peers(server: &Server) -> Value {
    let Some(mesh) = server.mesh() else { return json!({ "mesh": false, "peers": [] }) };
    let reading = mesh.reading();
    let describe = |peer: &revenprox_mesh::node::PeerView| {
        json!({
            "name": peer.name,
            "id": peer.id.to_string(),
            "started_ms": peer.session.incarnation,
            "live": peer.live,
            "address": peer.address.as_ref().map(ToString::to_string),
            "link_up": peer.up,
            "silent_ms": u64::try_from(peer.silent.as_millis()).unwrap_or(u64::MAX),
            "queued_events": peer.queue,
            "batches_in_flight": peer.in_flight,
            "bytes_held": peer.bytes,
            "events_sent": peer.events.0,
            "events_received": peer.events.1,
            "events_dropped": peer.dropped,
            "events_lost": peer.lost.0,
            "batches_lost": peer.lost.1,
            "batches_behind": peer.lag,
            "knows_interest": peer.knows,
            "interest_version": peer.interest_version,
            "topics": peer.topics,
            "filter_fill": peer.fill,
            "filter_bytes": peer.filter_bytes,
        })
    };
    json!({ "mesh": true, "peers": reading.peers.iter().map(describe).collect::<Vec<_>>() })
}

async fn set_log_level(server: &Server, head: &Parts, body: Incoming) -> Result<Value, Problem> {
    let Level { level } = read_json(server, head, body).await?;
    server.set_log_level(level);
    tracing::warn!(?level, "the log level was changed by the admin listener");
    Ok(json!({ "level": level }))
}

async fn revoke(server: &Server, head: &Parts, body: Incoming) -> Result<Value, Problem> {
    let order: Revoke = read_json(server, head, body).await?;
    let (claim, text): (fn(String) -> Claim, _) = match (order.sub, order.jti, order.kid) {
        (Some(sub), None, None) => (Claim::Subject, sub),
        (None, Some(jti), None) => (Claim::TokenId, jti),
        (None, None, Some(kid)) => (Claim::KeyId, kid),
        _ => return Err(Problem::bad_request("name one of sub, jti and kid")),
    };
    // Others could not be told of a longer one.
    if !(1..=TEXT_BYTES_MAX).contains(&text.len()) {
        let detail = format!("what is revoked has {} bytes; it must have 1 to {TEXT_BYTES_MAX}", text.len());
        return Err(Problem::bad_request(detail));
    }
    let seconds = order.expires_in_seconds.unwrap_or(REVOKED_FOR_S);
    if seconds == 0 {
        return Err(Problem::bad_request("expires_in_seconds is at least 1"));
    }
    if !server.revoke(claim(text), Duration::from_secs(seconds)) {
        let detail = "too many revocations are in force; revoke a whole key by its kid instead";
        return Err(Problem::passing(StatusCode::SERVICE_UNAVAILABLE, detail, 60));
    }
    Ok(json!({ "revoked_for_seconds": seconds }))
}

async fn read_json<T: serde::de::DeserializeOwned>(
    server: &Server,
    head: &Parts,
    body: Incoming,
) -> Result<T, Problem> {
    let body = read_body(&head.headers, body, BODY_BYTES_MAX, &server.config()).await?;
    serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string()))
}

fn limit(head: &Parts) -> Result<usize, Problem> {
    let Some(text) = query::first(head.uri.query(), "limit")? else { return Ok(LISTED) };
    let limit = text.parse().ok().filter(|limit| (1..=LISTED_MAX).contains(limit));
    limit.ok_or_else(|| Problem::bad_request(format!("limit is a number from 1 to {LISTED_MAX}")))
}
