//! Publishes events.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;

use super::{
    ClientError, HttpClient, Target, Token,
    http::{refusal, text_of},
};

/// Publishes events to one proxy.
#[derive(Debug, Clone)]
pub struct Publisher {
    client: HttpClient,
    target: Target,
    token: Token,
}

/// What goes with the data of one event.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    /// The event's type.
    pub event: Option<String>,
    /// The reconnection time for subscribers, in milliseconds.
    pub retry: Option<u64>,
    /// A key under which the proxy accepts the event once only.
    pub idempotency_key: Option<String>,
    /// What the answer waits for.
    pub ack: Ack,
}

/// What an event has to have reached before its publisher is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Ack {
    /// The instance that was asked.
    #[default]
    Accepted,
    /// Another instance that keeps the topic, too.
    Replicated,
}

// === impl Ack ===

impl Ack {
    /// The query parameter, where it is not what is done anyway.
    fn param(self) -> Option<(&'static str, &'static str)> {
        (self == Self::Replicated).then_some(("ack", "replicated"))
    }
}

// === impl Publisher ===

impl Publisher {
    /// A publisher to a proxy.
    pub fn new(client: HttpClient, target: Target, token: Token) -> Self {
        Self { client, target, token }
    }

    /// Publishes one event and returns the answer, which is JSON with the event's id.
    pub async fn publish(
        &self,
        topic: &str,
        data: Bytes,
        publication: &Publication,
    ) -> Result<String, ClientError> {
        let retry = publication.retry.map(|retry| retry.to_string());
        let event = publication.event.as_deref().map(|event| ("event", event));
        let retry = retry.as_deref().map(|retry| ("retry", retry));
        let params: Vec<_> = event.into_iter().chain(retry).chain(publication.ack.param()).collect();
        let uri = self.target.url(&[topic.to_owned()], &params)?;
        let mut request = Request::new(Full::new(data));
        *request.uri_mut() = uri;
        if let Some(key) = &publication.idempotency_key {
            let key = HeaderValue::from_str(key).map_err(|_| ClientError::Header("idempotency key"))?;
            request.headers_mut().insert("idempotency-key", key);
        }
        self.send(request, "application/octet-stream").await
    }

    /// Publishes a batch in NDJSON, one event with its topic a line, and returns the answer with one result a
    /// line.
    pub async fn publish_batch(&self, lines: Bytes, ack: Ack) -> Result<String, ClientError> {
        let mut request = Request::new(Full::new(lines));
        let params: Vec<_> = ack.param().into_iter().collect();
        *request.uri_mut() = Target::new(&self.target.events())?.url(&[], &params)?;
        self.send(request, "application/x-ndjson").await
    }

    async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        content_type: &'static str,
    ) -> Result<String, ClientError> {
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.extend(self.token.header()?.map(|token| (header::AUTHORIZATION, token)));
        let response = self.client.send(request).await?;
        let status = response.status();
        if status.is_success() {
            text_of(response.into_body()).await
        } else {
            Err(refusal(status, response.into_body()).await)
        }
    }
}
