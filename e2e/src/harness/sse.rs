//! A small client for the proxy: plain requests, and event streams read event by event.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Outcome;

/// Longest wait for a connection and the head of an answer.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Most bytes of a plain answer, and of one event.
const MAX_BYTES: usize = 1024 * 1024;

/// One event of a stream, its fields as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Field `id`.
    pub id: Option<String>,
    /// Field `event`.
    pub event: Option<String>,
    /// Fields `data`, joined by line feeds.
    pub data: Option<String>,
    /// Field `retry`, milliseconds.
    pub retry: Option<u64>,
}

/// What came next on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// An event, which may consist of `retry` alone.
    Event(Event),
    /// The server ended the stream in good order, with the last chunk of the body.
    End,
}

/// An open event stream.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    buffer: BytesMut,
}

/// Sends a request on a connection of its own and reads the whole answer.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> Outcome<(StatusCode, String)> {
    request_with(address, method, path, &[], body).await
}

/// The same with further headers.
pub async fn request_with(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: impl Into<Bytes>,
) -> Outcome<(StatusCode, String)> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let response = send(address, request, body.into()).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BYTES).collect();
    let body =
        tokio::time::timeout(HEAD_LIMIT, body).await.map_err(|_| format!("{path}: the body did not end"))?;
    let body = body.map_err(|error| format!("{method} {path}: {error}"))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn send(
    address: SocketAddr,
    request: http::request::Builder,
    body: Bytes,
) -> Outcome<Response<Incoming>> {
    let request = request.header("host", address.to_string()).body(Full::new(body))?;
    let what = format!("{} {} at {address}", request.method(), request.uri());
    let exchange = async {
        let socket = TcpStream::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        // It ends with the body, whose reader learns of every error.
        tokio::spawn(connection);
        Ok::<_, Box<dyn std::error::Error>>(sender.send_request(request).await?)
    };
    let limited = tokio::time::timeout(HEAD_LIMIT, exchange).await;
    let answer = limited.unwrap_or_else(|_| Err(format!("no answer in {} s", HEAD_LIMIT.as_secs()).into()));
    answer.map_err(|error| format!("{what}: {error}").into())
}

// === impl Stream ===

impl Stream {
    /// Subscribes. Anything but a 200 with an event stream is an error.
    pub async fn open(address: SocketAddr, path: &str) -> Outcome<Self> {
        Self::resume(address, path, None).await
    }

    /// Subscribes again, with the id of the last event that was seen.
    pub async fn resume(address: SocketAddr, path: &str, last_id: Option<&str>) -> Outcome<Self> {
        let mut request = Request::get(path).header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = send(address, request, Bytes::new()).await?;
        let kind =
            response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if response.status() != StatusCode::OK || !kind.starts_with("text/event-stream") {
            return Err(
                format!("GET {path} at {address} answered {} with {kind:?}", response.status()).into()
            );
        }
        Ok(Self { body: response.into_body(), buffer: BytesMut::new() })
    }

    /// The next event, or the end of the stream. Comments and events without any field are skipped.
    /// A stream that is cut off, or silent for longer than `limit`, is an error.
    pub async fn next(&mut self, limit: Duration) -> Outcome<Next> {
        let limited = tokio::time::timeout(limit, self.read()).await;
        limited.unwrap_or_else(|_| {
            Err(format!("nothing came on the stream for {} s", limit.as_secs_f32()).into())
        })
    }

    async fn read(&mut self) -> Outcome<Next> {
        loop {
            while let Some(block) = self.take_block() {
                let event = parse(&block);
                if event != Event::default() {
                    return Ok(Next::Event(event));
                }
            }
            if self.buffer.len() > MAX_BYTES {
                return Err("an event is larger than the test reads".into());
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(Next::End),
                None => return Err(format!("the stream ended within an event: {:?}", self.buffer).into()),
                Some(Err(error)) => return Err(format!("the stream was cut off: {error}").into()),
                Some(Ok(frame)) => {
                    self.buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                }
            }
        }
    }

    /// Takes what is before the next empty line. A comment line is complete by itself.
    fn take_block(&mut self) -> Option<Bytes> {
        if self.buffer.first() == Some(&b':') {
            let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
            return Some(self.buffer.split_to(end + 1).freeze());
        }
        let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
        Some(self.buffer.split_to(end + 2).freeze())
    }
}

/// Fields of one event, by the rules of the WHATWG's HTML standard, section 9.2.6, for streams with bare line feeds.
fn parse(block: &[u8]) -> Event {
    let mut event = Event::default();
    for line in
        String::from_utf8_lossy(block).lines().filter(|line| !line.is_empty() && !line.starts_with(':'))
    {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = Some(value.to_owned()),
            "event" => event.event = Some(value.to_owned()),
            "retry" => event.retry = value.parse().ok(),
            "data" => match &mut event.data {
                Some(data) => *data = format!("{data}\n{value}"),
                data => *data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_an_event() {
        let event = parse(b": hello\nid: 1\nevent:x\ndata: a\ndata:b\nretry: 250\n\n");
        let expected = Event {
            id: Some("1".to_owned()),
            event: Some("x".to_owned()),
            data: Some("a\nb".to_owned()),
            retry: Some(250),
        };
        assert_eq!(event, expected);
    }
}
