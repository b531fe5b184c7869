//! `POST /events/{topic}`: one event, whose data is the body.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::CONTENT_LENGTH, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tracing::Instrument as _;

use super::{
    Problem, Reply,
    idempotency::{Claim, Seen},
    query,
    reply::json_reply,
    service::Client,
};
use crate::{
    auth::Action,
    event::{Event, EventId},
    log::Kept,
    server::{Refusal, Server},
    telemetry::trace,
    topic::{TopicId, TopicName},
};

/// Names the event, as `?event=` does.
const EVENT_HEADER: &str = "revenprox-event";
/// Sets the client's reconnect delay, as `?retry=` does.
const RETRY_HEADER: &str = "revenprox-retry";
/// Says what the answer waits for, as `?ack=` does.
const ACK_HEADER: &str = "revenprox-ack";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Why an event was not published: the status and what to do.
pub(super) type Published = Result<EventId, Problem>;

/// Answers a publish.
pub(super) async fn publish(
    server: &Arc<Server>,
    client: &Client,
    topic: &TopicName,
    head: &Parts,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let config = server.config();
    server.authorize(client, head, topic, Action::Publish).await?;
    let body = read_body(&head.headers, body, config.http.max_body_size, &config).await?;
    let text = std::str::from_utf8(&body).map_err(|error| {
        Problem::bad_request(format!("the body is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let name = parameter(head, "event", EVENT_HEADER)?;
    let retry = parameter(head, "retry", RETRY_HEADER)?.map(|text| parse_retry(&text)).transpose()?;
    let key = head.headers.get(IDEMPOTENCY_KEY).map(parse_key).transpose()?;
    let ack = Ack::of(head)?;
    let id = accept(server, topic, name.as_deref(), text, retry, key, ack).await?;
    Ok(json_reply(StatusCode::ACCEPTED, &accepted(id, topic, ack)))
}

/// What an event has to have reached before its publisher is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    /// This instance.
    Accepted,
    /// Another instance that keeps the topic.
    Replicated,
}

// === impl Ack ===

impl Ack {
    /// What a publisher asks for.
    pub(super) fn of(head: &Parts) -> Result<Self, Problem> {
        match parameter(head, "ack", ACK_HEADER)?.as_deref() {
            None | Some("accepted") => Ok(Self::Accepted),
            Some("replicated") => Ok(Self::Replicated),
            Some(_) => Err(Problem::bad_request("ack is accepted or replicated")),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Replicated => "replicated",
        }
    }
}

/// What a publisher is told of an event that was accepted.
pub(super) fn accepted(id: EventId, topic: &TopicName, ack: Ack) -> serde_json::Value {
    let topic = TopicId::of(topic).as_uuid().to_string();
    json!({ "id": id.to_string(), "topic": topic, "ack": ack.as_str() })
}

/// Publishes one event, or finds that its key was used before.
pub(super) async fn accept(
    server: &Server,
    topic: &TopicName,
    name: Option<&str>,
    data: &str,
    retry_ms: Option<u32>,
    key: Option<&str>,
    ack: Ack,
) -> Published {
    let settings = &server.config().publish;
    if data.len() > settings.max_event_bytes {
        let (size, limit) = (data.len(), settings.max_event_bytes);
        return Err(Problem::too_large(format!("the event has {size} bytes; at most {limit} are allowed")));
    }
    let event = Event::new(name, data, retry_ms).map_err(|error| Problem::bad_request(error.to_string()))?;
    let mut block = Vec::with_capacity(data.len() + 64);
    event.write_after_id(&mut block);
    let id = match key {
        None => append(server, topic, &block).await?,
        Some(key) => append_once(server, topic, key, &block).await?,
    };
    if ack == Ack::Replicated {
        replicate(server, topic, id, block).await?;
    }
    Ok(id)
}

/// Appends an event, unless its key was used before.
async fn append_once(server: &Server, topic: &TopicName, key: &str, block: &[u8]) -> Published {
    let settings = &server.config().publish;
    let id = TopicId::of(topic);
    let ttl = std::time::Duration::from_secs(settings.idempotency_ttl_sec);
    match server.keys.claim(id, key, block, settings.idempotency_max_keys, ttl, Instant::now()) {
        Seen::Before(id) => Ok(id),
        Seen::InFlight => {
            let detail = "an event with this idempotency key is being published; try again";
            Err(Problem::passing(StatusCode::CONFLICT, detail, 1))
        }
        Seen::Conflict => {
            let detail = "this idempotency key was used for another event; use a new one";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
        }
        Seen::New => {
            // The publisher may go away while delivery is behind, and with it this future.
            let claim = Claim::new(&server.keys, id, key);
            let event = append(server, topic, block).await?;
            claim.done(event);
            Ok(event)
        }
    }
}

/// Brings an event to another instance that keeps it, in time or not.
async fn replicate(
    server: &Server,
    topic: &TopicName,
    id: EventId,
    after_id: Vec<u8>,
) -> Result<(), Problem> {
    let limit = std::time::Duration::from_millis(server.config().publish.replicated_timeout_ms);
    let replicated = match server.mesh() {
        Some(mesh) => mesh.replicate(topic, Kept { id, after_id }, limit).await,
        None => false,
    };
    if replicated {
        return Ok(());
    }
    let detail = format!(
        "the event {id} is delivered, but no other instance that keeps its topic has taken it within {} ms; \
         try again with the same Idempotency-Key",
        limit.as_millis()
    );
    Err(Problem::passing(StatusCode::SERVICE_UNAVAILABLE, detail, 1))
}

/// Reads a body that is bounded in size and time.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
    config: &crate::config::Config,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::too_large(format!("the body has more than {limit} bytes"));
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let time = std::time::Duration::from_secs(config.http.body_timeout_sec);
    match tokio::time::timeout(time, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body did not arrive whole: {error}"))),
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", time.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

/// A reconnect delay in milliseconds.
pub(super) fn parse_retry(text: &str) -> Result<u32, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| Problem::bad_request("retry is a number of milliseconds below 2^32"))
}

/// An idempotency key that is short enough to be remembered.
pub(super) fn check_key(key: &str) -> Result<&str, Problem> {
    let is_text = key.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if is_text && (1..=super::idempotency::KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(key);
    }
    Err(Problem::bad_request("an idempotency key is 1 to 255 visible ASCII characters"))
}

async fn append(server: &Server, topic: &TopicName, block: &[u8]) -> Published {
    let span = trace::append(topic);
    let topic = server.hub.topic(topic);
    server
        .hub
        .publish(&topic, block)
        .instrument(span)
        .await
        .map_err(|error| Problem::passing(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), 1))
}

fn parameter(head: &Parts, query_name: &str, header: &str) -> Result<Option<String>, Problem> {
    if let Some(value) = query::first(head.uri.query(), query_name)? {
        return Ok(Some(value.into_owned()));
    }
    let text = |value: &http::HeaderValue| {
        let text = std::str::from_utf8(value.as_bytes()).map(str::to_owned);
        text.map_err(|_| Problem::bad_request(format!("the header {header} is not UTF-8")))
    };
    head.headers.get(header).map(text).transpose()
}

fn parse_key(value: &http::HeaderValue) -> Result<&str, Problem> {
    // What is not text has no length that would do.
    check_key(value.to_str().unwrap_or_default())
}
