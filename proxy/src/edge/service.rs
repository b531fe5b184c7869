//! From a request to what becomes of it.

use std::{convert::Infallible, future::pending, net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header::CONNECTION, request::Parts};
use http_body_util::Either;
use hyper::body::Incoming;
use serde_json::json;
use tracing::Instrument as _;

use super::{
    Problem, Reply,
    batch::publish_batch,
    client_address, cors, head_limits,
    link::{Link, Purpose},
    publish::publish,
    reply::{empty_reply, json_reply},
    subscribe::{Outcome, subscribe, topics},
    turn_away::{Passing, answer},
};
use crate::{
    admin,
    auth::Action,
    debug,
    mesh::Presence,
    ops,
    server::{RETURN_AFTER, Refusal, Server},
    telemetry::trace,
    topic::{TopicId, TopicName},
};

const EVENTS_METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// Who sent a request.
#[derive(Clone, Debug)]
pub struct Client {
    /// The address to hold it to.
    pub address: IpAddr,
    /// Whether its socket can go to a shard.
    pub hand_off: bool,
}

/// Answers a request, or leaves a subscriber's terms in `link` and never returns: the driver then takes
/// the connection apart.
pub(super) async fn serve(
    server: Arc<Server>,
    peer: IpAddr,
    link: Arc<Link>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let in_flight = link.begin();
    let (head, body) = request.into_parts();
    let config = server.config();
    let address = client_address::resolve(peer, &head.headers, &config.http);
    let client = Client { address, hand_off: link.can_hand_off() };
    if let Err(problem) =
        head_limits::check(&head, &config.http).and_then(|()| head_limits::check_host(&head))
    {
        return Ok(problem.reply());
    }
    match link.purpose() {
        Purpose::Serve => {}
        Purpose::Administer => return Ok(admin::answer(&server, &head, body).await),
        Purpose::TurnAway => {
            let why = "this instance has no file descriptor to serve you with; come back";
            let with = config.http.refuse_with;
            let mut reply = answer(Passing::Descriptors, why, RETURN_AFTER, &head.headers, with);
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            add_cors(&server, &head.headers, &mut reply);
            return Ok(reply);
        }
    }
    let path = head.uri.path();
    if let Some(topic) = path.strip_prefix("/presence/") {
        let mut reply = presence(&server, &client, &head, topic).await;
        add_cors(&server, &head.headers, &mut reply);
        return Ok(reply);
    }
    if server.has_debugger()
        && let Some(reply) = debug::answer(debug::Listener::Clients, &head)
    {
        return Ok(reply);
    }
    if path != "/events" && !path.starts_with("/events/") {
        let reply = if config.admin.exclusive { None } else { ops::answer(&server, &head).await };
        return Ok(reply.unwrap_or_else(|| not_found(path).reply()));
    }
    let outcome = match events(&server, &client, &head, body).await {
        Ok(outcome) => outcome,
        Err(refusal) => Outcome::Reply(server.refuse(&refusal, &head.headers)),
    };
    match outcome {
        Outcome::HandOff(terms) => {
            link.put_terms(terms);
            pending().await
        }
        Outcome::Reply(mut reply) => {
            add_cors(&server, &head.headers, &mut reply);
            if let Either::Right(stream) = reply.body_mut() {
                stream.hold(in_flight);
            }
            Ok(reply)
        }
    }
}

async fn events(
    server: &Arc<Server>,
    client: &Client,
    head: &Parts,
    body: Incoming,
) -> Result<Outcome, Refusal> {
    let path = head.uri.path();
    let limit = server.config().http.max_topics_per_connection;
    match head.method {
        Method::OPTIONS => {
            let mut reply = empty_reply(StatusCode::NO_CONTENT);
            cors::preflight(reply.headers_mut());
            Ok(Outcome::Reply(reply))
        }
        Method::GET | Method::HEAD => {
            if !hyper::body::Body::is_end_stream(&body) {
                return Err(Problem::bad_request("a subscribe has no body").into());
            }
            let names = topics(path, head.uri.query(), limit)?;
            subscribe(server, client, &names, head).await
        }
        Method::POST if path == "/events" => {
            traced(head, None, publish_batch(server, client, head, body)).await
        }
        Method::POST => {
            let names = topics(path, None, limit)?;
            traced(head, Some(&names[0]), publish(server, client, &names[0], head, body)).await
        }
        _ => Err(Problem::method_not_allowed(EVENTS_METHODS).into()),
    }
}

/// How many subscribers a topic has on all instances, for those who may subscribe to it.
async fn presence(server: &Arc<Server>, client: &Client, head: &Parts, topic: &str) -> Reply {
    let answer = async {
        match head.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => {
                let mut reply = empty_reply(StatusCode::NO_CONTENT);
                cors::preflight(reply.headers_mut());
                return Ok(reply);
            }
            _ => return Err(Problem::method_not_allowed("GET, HEAD, OPTIONS").into()),
        }
        let name = TopicName::from_encoded(topic).map_err(|error| Problem::bad_request(error.to_string()))?;
        server.check_pressure(client)?;
        server.authorize(client, head, &name, Action::Subscribe).await?;
        let id = TopicId::of(&name);
        let found = match server.mesh() {
            Some(mesh) => mesh.presence(&server.hub, id).await,
            None => Presence::here(&server.hub, id),
        };
        let body = json!({
            "topic": id.as_uuid().to_string(),
            "subscribers": found.subscribers,
            "instances": found.instances,
            "complete": found.silent == 0,
        });
        Ok::<_, Refusal>(json_reply(StatusCode::OK, &body))
    };
    answer.await.unwrap_or_else(|refusal| refusal.into_problem().reply())
}

/// Publishes in a span that continues the publisher's trace.
async fn traced(
    head: &Parts,
    topic: Option<&TopicName>,
    work: impl Future<Output = Result<Reply, Refusal>>,
) -> Result<Outcome, Refusal> {
    let span = trace::publish(&head.headers, topic);
    let result = work.instrument(span.clone()).await;
    trace::answered(&span, result.as_ref().map_or_else(Refusal::status, http::Response::status));
    result.map(Outcome::Reply)
}

fn add_cors(server: &Server, request: &HeaderMap, reply: &mut Reply) {
    // A stream's head has them already.
    if !reply.headers().contains_key(http::header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        cors::headers(&server.config().http.cors_allowed_origins, request, reply.headers_mut());
    }
}

fn not_found(path: &str) -> Problem {
    let shown: String = path.chars().take(100).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at {shown}; events are at /events/{{topic}}"),
    )
}
