//! A small HTTP client: one question, one answer.

use std::{io, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, ToSocketAddrs},
    time::timeout,
};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);

/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why an answer is not known.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It took too long.
    #[error("no answer in {} s", LIMIT.as_secs())]
    Late,
    /// There is nobody.
    #[error(transparent)]
    Connect(#[from] io::Error),
    /// The connection broke.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The question is none.
    #[error("the request is malformed: {0}")]
    Request(#[from] hyper::http::Error),
    /// The answer is not 200.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The answer is too long, or broke off.
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// Asks for a path, and returns what is answered with 200.
pub async fn ask(address: impl ToSocketAddrs, path: String) -> Result<String, AskError> {
    timeout(LIMIT, ask_patiently(address, path)).await.unwrap_or(Err(AskError::Late))
}

async fn ask_patiently(address: impl ToSocketAddrs, path: String) -> Result<String, AskError> {
    let socket = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let request = Request::get(path).header("host", "revenprox").body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(AskError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(String::from_utf8_lossy(&body.map_err(AskError::Body)?.to_bytes()).into_owned())
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        end = connection => match end {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}
