//! `POST /events`: many events, one JSON object a line (NDJSON), each with a result of its own.

use std::{borrow::Cow, sync::Arc};

use hashbrown::HashMap;
use http::{StatusCode, header::CONTENT_TYPE, request::Parts};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    Problem, Reply,
    publish::{Ack, accept, accepted, check_key, read_body},
    reply::text_reply,
    service::Client,
};
use crate::{
    auth::Action,
    server::{Refusal, Server},
    topic::TopicName,
};

/// The type of a batch and of its answer.
const NDJSON: &str = "application/x-ndjson";

/// One line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    /// A string is the data itself; any other JSON value is sent as the text it is.
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
    #[serde(default)]
    retry: Option<u32>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
}

/// Answers a batch.
pub(super) async fn publish_batch(
    server: &Arc<Server>,
    client: &Client,
    head: &Parts,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let config = server.config();
    let content_type =
        head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(NDJSON) {
        let detail =
            format!("a batch is {NDJSON}, one event a line; to publish one event use /events/{{topic}}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into());
    }
    let body = read_body(&head.headers, body, config.http.max_body_size, &config).await?;
    let (status, answer) = publish_lines(server, client, head, &body).await?;
    Ok(text_reply(status, NDJSON, answer))
}

/// Publishes the events of a batch, one a line, with the token of `head`. Returns a result for each, one a line.
pub(super) async fn publish_lines(
    server: &Arc<Server>,
    client: &Client,
    head: &Parts,
    body: &[u8],
) -> Result<(StatusCode, String), Problem> {
    let lines: Vec<&[u8]> =
        body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect();
    let limit = server.config().publish.max_batch_events;
    if lines.len() > limit {
        let count = lines.len();
        return Err(Problem::too_large(format!("the batch has {count} events; at most {limit} are allowed")));
    }
    if lines.is_empty() {
        return Err(Problem::bad_request("the batch has no events"));
    }
    let ack = Ack::of(head)?;
    let mut topics = HashMap::new();
    let mut answer = String::with_capacity(lines.len() * 100);
    let mut failed = 0;
    for line in &lines {
        let result = match publish_line(server, client, head, line, ack, &mut topics).await {
            Ok(result) => result,
            Err(problem) => {
                failed += 1;
                json!({ "status": problem.status.as_u16(), "error": problem.detail })
            }
        };
        answer.push_str(&result.to_string());
        answer.push('\n');
    }
    let status = if failed == 0 { StatusCode::ACCEPTED } else { StatusCode::MULTI_STATUS };
    Ok((status, answer))
}

/// Names and permissions that this batch has asked for already.
type Topics = HashMap<String, Result<TopicName, Problem>>;

async fn publish_line(
    server: &Arc<Server>,
    client: &Client,
    head: &Parts,
    line: &[u8],
    ack: Ack,
    topics: &mut Topics,
) -> Result<serde_json::Value, Problem> {
    let line: Line<'_> = serde_json::from_slice(line)
        .map_err(|error| Problem::bad_request(format!("the line is not an event: {error}")))?;
    if !topics.contains_key(&*line.topic) {
        let allowed = allowed(server, client, head, &line.topic).await;
        topics.insert(line.topic.to_string(), allowed);
    }
    let topic = topics[&*line.topic].as_ref().map_err(Clone::clone)?;
    let raw = line.data.get();
    let data: Cow<'_, str> = if raw.starts_with('"') {
        serde_json::from_str::<Text<'_>>(raw).map_err(|error| Problem::bad_request(error.to_string()))?.0
    } else {
        raw.into()
    };
    let key = line.key.as_deref().map(check_key).transpose()?;
    let id = accept(server, topic, line.event.as_deref(), &data, line.retry, key, ack).await?;
    Ok(accepted(id, topic, ack))
}

/// A JSON string that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

async fn allowed(
    server: &Arc<Server>,
    client: &Client,
    head: &Parts,
    name: &str,
) -> Result<TopicName, Problem> {
    let topic = TopicName::new(name).map_err(|error| Problem::bad_request(error.to_string()))?;
    match server.authorize(client, head, &topic, Action::Publish).await {
        Ok(_) => Ok(topic),
        Err(refusal) => Err(refusal.into_problem()),
    }
}
