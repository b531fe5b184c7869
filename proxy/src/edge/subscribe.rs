//! `GET /events/{topic}` and `GET /events?topic=…`: a stream of events.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Version,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, DATE, TRANSFER_ENCODING},
    request::Parts,
};
use http_body_util::Either;
use smallvec::SmallVec;

use super::{Problem, Reply, cors, query, reply::empty_reply, service::Client, turn_away};
use crate::{
    auth::{Action, Grant},
    delivery::{Command, Form, Identity, NewSubscriber, Terms, pipe::Pipe, sink::Sink},
    hub::{Since, Start, Topic, now_ms},
    log::Position,
    mesh::arrival::Arrival,
    server::{Refusal, Server},
    topic::TopicName,
};

/// What becomes of a subscribe.
pub(super) enum Outcome {
    /// An answer by hyper.
    Reply(Reply),
    /// The socket goes to a shard, together with this.
    HandOff(Box<Terms>),
}

/// Answers a subscribe.
pub(super) async fn subscribe(
    server: &Arc<Server>,
    client: &Client,
    names: &[TopicName],
    head: &Parts,
) -> Result<Outcome, Refusal> {
    if !turn_away::accepts_event_stream(&head.headers) {
        let detail = "a stream of events is text/event-stream, which Accept does not admit";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail).into());
    }
    let start = start(head)?;
    server.check_pressure(client)?;
    let mut grants = Vec::with_capacity(names.len());
    for name in names {
        grants.push(server.authorize(client, head, name, Action::Subscribe).await?);
    }
    let mut headers = stream_headers(server, head);
    if head.method == Method::HEAD {
        let mut reply = empty_reply(StatusCode::OK);
        reply.headers_mut().extend(headers);
        return Ok(Outcome::Reply(reply));
    }
    let permit = server.admit(client)?;
    let topics = arrive(server, names, &start).await;
    let (topics, preamble) = enter(server, topics, &start);
    // All topics were granted to one token; the first grant names it.
    let grant = grants.into_iter().next().unwrap_or_default();
    let mut terms = Terms {
        form: Form::Raw,
        head: Bytes::new(),
        preamble,
        topics,
        identity: identity(&grant),
        expires_at: grant.expires_at,
        permit,
    };
    if client.hand_off {
        let chunked = head.version == Version::HTTP_11;
        terms.form = if chunked { Form::Chunked } else { Form::Raw };
        terms.head = write_head(headers, chunked);
        return Ok(Outcome::HandOff(Box::new(terms)));
    }
    let inbox = server.delivery.next_inbox();
    let (pipe, mut body) = Pipe::new(inbox);
    inbox.push(Command::Subscribe(Box::new(NewSubscriber { sink: Sink::Pipe(pipe), terms })));
    // The head tells a client that it is subscribed, so it may not be earlier.
    body.joined().await;
    let mut reply = Response::new(Either::Right(body));
    if head.version == Version::HTTP_2 {
        headers.remove(CONNECTION);
    }
    reply.headers_mut().extend(headers);
    Ok(Outcome::Reply(reply))
}

/// The topics that a request names: one in the path or several in the query.
pub(super) fn topics(path: &str, query: Option<&str>, limit: usize) -> Result<Vec<TopicName>, Problem> {
    let bad = |error: crate::topic::TopicError| Problem::bad_request(error.to_string());
    if let Some(segment) = path.strip_prefix("/events/") {
        return Ok(vec![TopicName::from_encoded(segment).map_err(bad)?]);
    }
    let mut names = Vec::new();
    for name in query::all(query, "topic") {
        let name = TopicName::new(&name?).map_err(bad)?;
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > limit {
            let detail = format!("the request names more than {limit} topics");
            return Err(Problem::bad_request(detail));
        }
    }
    if names.is_empty() {
        return Err(Problem::bad_request("name a topic, as in /events/orders or /events?topic=a&topic=b"));
    }
    Ok(names)
}

fn start(head: &Parts) -> Result<Start, Problem> {
    let query = head.uri.query();
    let header =
        head.headers.get("last-event-id").map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let named = match header {
        Some(id) => Some(id),
        None => match query::first(query, "lastEventId")? {
            Some(id) => Some(id.into_owned()),
            None => query::first(query, "last_event_id")?.map(Cow::into_owned),
        },
    };
    // A client that comes back still has what it asked for at first in its URL. That is checked as it was then, so that
    // the same URL is never good now and wrong later.
    let since = query::first(query, "since")?.map(|since| Since::parse(&since, now_ms())).transpose();
    let since = since.map_err(|error| Problem::bad_request(error.to_string()))?;
    if let Some(id) = named.filter(|id| !id.is_empty()) {
        return Ok(Start::After(id));
    }
    Ok(since.map_or(Start::Live, Start::Since))
}

type Entered = (SmallVec<[(Arc<Topic>, Position); 1]>, Vec<u8>);

/// Waits until everything is here that these topics' new subscriber needs.
async fn arrive(server: &Server, names: &[TopicName], start: &Start) -> Vec<Arc<Topic>> {
    let config = server.config();
    let arrival = Arrival {
        hub: &server.hub,
        mesh: server.mesh().map(Arc::as_ref),
        announce: Duration::from_millis(config.nng.as_ref().map_or(0, |nng| nng.subscribe_wait_ms)),
        resume: Duration::from_millis(config.history.resume_wait_ms),
    };
    arrival.prepare(names, start).await
}

/// Takes the position in each topic, and what the client is to be told first.
fn enter(server: &Server, names: Vec<Arc<Topic>>, start: &Start) -> Entered {
    let retry_ms = server.config().http.retry_ms;
    let mut preamble = Vec::new();
    if retry_ms > 0 {
        // Without a blank line, which makes some clients emit an empty event.
        preamble.extend_from_slice(format!("retry: {retry_ms}\n").as_bytes());
    }
    let only_topic = names.len() == 1;
    let mut topics = SmallVec::new();
    for topic in names {
        let (position, first) = server.hub.enter(&topic, start, only_topic);
        preamble.extend_from_slice(&first);
        topics.push((topic, position));
    }
    (topics, preamble)
}

fn identity(grant: &Grant) -> Option<Identity> {
    let named = grant.subject.is_some() || grant.token_id.is_some() || grant.key_id.is_some();
    named.then(|| Identity::new(grant.subject.as_deref(), grant.token_id.as_deref(), grant.key_id.as_deref()))
}

/// The headers of every stream. The last ones tell caches and proxies not to hold events back.
fn stream_headers(server: &Server, head: &Parts) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    cors::headers(&server.config().http.cors_allowed_origins, &head.headers, &mut headers);
    headers
}

/// The head that a shard writes. HTTP/1.0 has no chunks; there the end of the connection is the end.
fn write_head(mut headers: HeaderMap, chunked: bool) -> Bytes {
    if chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    let mut out = Vec::with_capacity(320);
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in lines.chain([(DATE.as_str(), date.as_bytes())]) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
    out.into()
}
