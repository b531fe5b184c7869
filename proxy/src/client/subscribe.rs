//! Subscribes, and stays subscribed.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::sleep;

use super::{
    ClientError, Event, HttpClient, Parser, Target, Token,
    backoff::{Backoff, random},
    http::refusal,
};

/// The types of events with which the proxy speaks for itself start with this.
const OWN_EVENTS: &str = "revenprox-";

/// The event that ends a stream whose token has expired.
const TOKEN_EXPIRED: &str = "revenprox-token-expired";

/// What to subscribe to.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The proxy.
    pub target: Target,
    /// The topics; none if the URL names them.
    pub topics: Vec<String>,
    /// Sent with each request.
    pub token: Token,
    /// The event to resume after, at the first request.
    pub last_event_id: Option<String>,
    /// From when on events are wanted at the first request, if there is no event to resume after: `earliest`, a
    /// duration or a time.
    pub since: Option<String>,
    /// Whether to come back when a connection ends.
    pub reconnect: bool,
}

/// Something that happened.
#[derive(Debug)]
pub enum Signal {
    /// The stream is open.
    Open,
    /// An event of a publisher.
    Event(Event),
    /// An event with which the proxy speaks for itself, such as `revenprox-gap`.
    Notice(Event),
    /// The connection has ended or could not be made.
    Closed {
        /// How it ended.
        reason: String,
        /// How long it will be before the next try.
        wait: Duration,
    },
    /// There will be no more: the server said so, or reconnecting was not wanted.
    End,
}

/// Receives the events of a subscription, over as many connections as it takes.
#[derive(Debug)]
pub struct Subscriber {
    client: HttpClient,
    subscription: Subscription,
    state: State,
    backoff: Backoff,
    last_event_id: String,
    pending: VecDeque<Event>,
    token_expired: bool,
}

#[derive(Debug)]
enum State {
    /// To connect after a wait.
    Waiting(Duration),
    Open {
        body: Incoming,
        parser: Parser,
    },
    Done,
}

/// What a stream brought next.
enum Part {
    Events(Vec<Event>),
    /// Nothing more, for a reason.
    End(String),
}

/// Why a connection ended, and how soon the server wants to see the client again.
struct Lost {
    reason: String,
    retry_after: Option<Duration>,
}

// === impl Subscriber ===

impl Subscriber {
    /// A subscriber that connects when it is first asked for a signal.
    pub fn new(client: HttpClient, subscription: Subscription) -> Self {
        Self {
            client,
            last_event_id: subscription.last_event_id.clone().unwrap_or_default(),
            subscription,
            state: State::Waiting(Duration::ZERO),
            backoff: Backoff::default(),
            pending: VecDeque::new(),
            token_expired: false,
        }
    }

    /// The id that the next connection resumes after; empty if there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Waits for what happens next. Refusals that will not pass are errors, after which there is nothing more.
    pub async fn next(&mut self) -> Result<Signal, ClientError> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                event.id.clone_into(&mut self.last_event_id);
                self.token_expired |= event.event == TOKEN_EXPIRED;
                let is_notice = event.event.starts_with(OWN_EVENTS);
                return Ok(if is_notice { Signal::Notice(event) } else { Signal::Event(event) });
            }
            match &mut self.state {
                State::Done => return Ok(Signal::End),
                State::Waiting(wait) => {
                    let wait = std::mem::take(wait);
                    sleep(wait).await;
                    if let Some(signal) = self.connect().await? {
                        return Ok(signal);
                    }
                }
                State::Open { body, parser } => match read(body, parser).await? {
                    Part::Events(events) => {
                        self.pending.extend(events);
                        self.backoff.succeeded();
                    }
                    Part::End(reason) => return self.lost(Lost { reason, retry_after: None }),
                },
            }
        }
    }

    async fn connect(&mut self) -> Result<Option<Signal>, ClientError> {
        let response = match self.client.send(self.request()?).await {
            Ok(response) => response,
            Err(error) => return self.lost(Lost { reason: error.to_string(), retry_after: None }).map(Some),
        };
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            self.state = State::Done;
            return Ok(None);
        }
        if is_passing(status) {
            let retry_after = retry_after(response.headers());
            let reason = refusal(status, response.into_body()).await.to_string();
            return self.lost(Lost { reason, retry_after }).map(Some);
        }
        if status != StatusCode::OK {
            self.state = State::Done;
            return Err(refusal(status, response.into_body()).await);
        }
        self.open(response).map(Some)
    }

    fn open(&mut self, response: Response<Incoming>) -> Result<Signal, ClientError> {
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let essence =
            content_type.and_then(|value| value.to_str().ok()?.split(';').next()).unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("text/event-stream") {
            self.state = State::Done;
            return Err(ClientError::NotAStream(
                if essence.is_empty() { "nothing" } else { essence }.to_owned(),
            ));
        }
        let parser = Parser::with_last_event_id(self.last_event_id.clone());
        self.state = State::Open { body: response.into_body(), parser };
        Ok(Signal::Open)
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, ClientError> {
        let since = self.subscription.since.as_deref().filter(|_| self.last_event_id.is_empty());
        let params: Vec<_> = since.map(|since| ("since", since)).into_iter().collect();
        let mut request = Request::new(Full::default());
        *request.uri_mut() = self.subscription.target.url(&self.subscription.topics, &params)?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !self.last_event_id.is_empty() {
            let id = HeaderValue::from_bytes(self.last_event_id.as_bytes());
            headers.insert("last-event-id", id.map_err(|_| ClientError::Header("last event id"))?);
        }
        headers.extend(self.subscription.token.header()?.map(|token| (header::AUTHORIZATION, token)));
        Ok(request)
    }

    /// The connection is gone: the next signals say so and, if wanted, try again.
    fn lost(&mut self, lost: Lost) -> Result<Signal, ClientError> {
        if let State::Open { parser, .. } = &self.state {
            parser.last_event_id().clone_into(&mut self.last_event_id);
            if let Some(retry) = parser.retry() {
                self.backoff.set_retry(retry);
            }
        }
        let is_renewable = matches!(self.subscription.token, Token::File(_));
        if std::mem::take(&mut self.token_expired) && !is_renewable {
            self.state = State::Done;
            return Err(ClientError::TokenExpired);
        }
        if !self.subscription.reconnect {
            self.state = State::Done;
            return Ok(Signal::Closed { reason: lost.reason, wait: Duration::ZERO });
        }
        let wait = self.backoff.wait(lost.retry_after, random());
        self.backoff.failed();
        self.state = State::Waiting(wait);
        Ok(Signal::Closed { reason: lost.reason, wait })
    }
}

async fn read(body: &mut Incoming, parser: &mut Parser) -> Result<Part, ClientError> {
    match body.frame().await {
        Some(Ok(frame)) => {
            let data = frame.into_data().unwrap_or_default();
            Ok(Part::Events(parser.feed(&data)?))
        }
        Some(Err(error)) => Ok(Part::End(format!("the stream broke off: {error}"))),
        None => Ok(Part::End("the stream ended".to_owned())),
    }
}

/// Whether a refusal may be another answer later.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

/// The delay of the header `Retry-After`, if it is given in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
