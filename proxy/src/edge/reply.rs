//! Answers: JSON, and errors as problem documents (RFC 9457).

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::{Either, Full};
use serde::Serialize;
use serde_json::json;

use crate::delivery::pipe::PipeBody;

/// The body of an answer: whole, or a stream that a shard writes.
pub type ReplyBody = Either<Full<Bytes>, PipeBody>;

/// An answer.
pub type Reply = Response<ReplyBody>;

/// An error for a client: what is wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status code.
    pub status: StatusCode,
    /// What is wrong, in a sentence.
    pub detail: String,
    /// One header that belongs to the status.
    pub header: Option<(HeaderName, HeaderValue)>,
}

// === impl Problem ===

impl Problem {
    /// An error without a header of its own.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), header: None }
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 405, with the methods that are allowed.
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        let detail = format!("this address answers {allowed} only");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail).with(ALLOW, HeaderValue::from_static(allowed))
    }

    /// 401, with the challenge of RFC 6750.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"revenprox\"");
        Self::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, challenge)
    }

    /// An error that passes, with the seconds to wait.
    pub fn passing(status: StatusCode, detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self::new(status, detail).with(RETRY_AFTER, HeaderValue::from(retry_after_s.max(1)))
    }

    /// The answer.
    pub fn reply(&self) -> Reply {
        let mut reply = json_reply(self.status, &self.document());
        let problem = HeaderValue::from_static("application/problem+json");
        reply.headers_mut().insert(CONTENT_TYPE, problem);
        if let Some((name, value)) = &self.header {
            reply.headers_mut().insert(name, value.clone());
        }
        reply
    }

    /// The problem document (RFC 9457, section 3).
    pub fn document(&self) -> serde_json::Value {
        json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        })
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }
}

/// An answer with a JSON body.
pub fn json_reply(status: StatusCode, body: &impl Serialize) -> Reply {
    let text = serde_json::to_string(body).expect("the proxy's own answers are JSON");
    text_reply(status, "application/json", text)
}

/// An answer with a body of any type. Answers are about this moment, so nobody may cache them.
pub fn text_reply(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(text.into())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// An answer without a body.
pub fn empty_reply(status: StatusCode) -> Reply {
    let mut reply = Response::new(Either::Left(Full::default()));
    *reply.status_mut() = status;
    reply
}
