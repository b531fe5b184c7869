//! A client of the proxy, for people, scripts and tests: subscribes with reconnects, and publishes.

pub mod backoff;
pub mod http;
pub mod parser;
pub mod publish;
pub mod subscribe;
pub mod target;

pub use self::{
    http::{HttpClient, Trust},
    parser::{Event, Parser},
    publish::{Ack, Publication, Publisher},
    subscribe::{Signal, Subscriber, Subscription},
    target::Target,
};

use std::{io, path::PathBuf};

/// Where the token of each request comes from.
#[derive(Debug, Clone, Default)]
pub enum Token {
    /// No token is sent.
    #[default]
    None,
    /// Always the same.
    Fixed(String),
    /// The content of a file at each request, so that it can be renewed.
    File(PathBuf),
}

/// Why a request, or a stream, cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not one of this proxy.
    #[error("{0}")]
    Target(#[from] target::TargetError),
    /// Certificate authorities could not be loaded.
    #[error("cannot load certificate authorities: {0}")]
    Trust(String),
    /// The token's file could not be read.
    #[error("cannot read the token from {path}: {source}", path = path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The token, or an id, has characters that a header cannot carry.
    #[error("the {0} has characters that cannot be sent in a header")]
    Header(&'static str),
    /// There was no answer.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// The server refused the request.
    #[error("the server answered {status}: {detail}")]
    Refused {
        /// The status.
        status: ::http::StatusCode,
        /// What the server said of it.
        detail: String,
    },
    /// The answer is not an event stream.
    #[error("the answer is not an event stream but {0}")]
    NotAStream(String),
    /// The stream ended because the token expired, and there is no way to get another.
    #[error("the token has expired; use --token-file with a file that is renewed")]
    TokenExpired,
    /// An event is larger than the client takes.
    #[error(transparent)]
    TooLong(#[from] parser::TooLong),
}

// === impl Token ===

impl Token {
    /// The value of the header `Authorization`, if a token is sent.
    pub(crate) fn header(&self) -> Result<Option<::http::HeaderValue>, ClientError> {
        let token = match self {
            Self::None => return Ok(None),
            Self::Fixed(token) => token.clone(),
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|source| ClientError::Token { path: path.clone(), source })?,
        };
        let text = format!("Bearer {}", token.trim());
        let mut value = ::http::HeaderValue::from_str(&text).map_err(|_| ClientError::Header("token"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}
