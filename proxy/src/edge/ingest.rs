//! Publishing over NNG: a back end's REQ socket sends a batch, and the answer has a result for each event.
//!
//! A question is the publisher's token on the first line, which is empty if none is needed, and then the lines of
//! `POST /events`. An answer is a status code on the first line and then the lines, or the problem, that HTTP
//! would have answered. `docs/nng-publish.md` specifies it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, Request, StatusCode, header::AUTHORIZATION, request::Parts};
use revenprox_mesh::{
    identity::Address,
    transport::{Answering, Event, Settings, TransportError},
};
use tracing::Instrument as _;

use super::{Problem, batch::publish_lines, service::Client};
use crate::{server::Server, telemetry::trace};

/// Questions that were received and wait. The socket takes eight at a time.
const WAITING_MAX: usize = 64;

/// The socket, which closes with it, and what arrives there.
pub struct Ingest {
    socket: Answering,
    events: tokio::sync::mpsc::Receiver<Event>,
}

// === impl Ingest ===

impl Ingest {
    /// Listens. Must be called within a Tokio runtime.
    pub fn listen(address: &Address) -> Result<Self, TransportError> {
        // Only the first matters: such a socket dials nobody and asks nobody.
        let settings = Settings {
            inbox: WAITING_MAX,
            reconnect_max: Duration::from_secs(1),
            request_timeout: Duration::from_secs(1),
        };
        let (socket, events) = Answering::start(address, settings)?;
        Ok(Self { socket, events })
    }

    /// Answers until it is dropped.
    pub async fn run(mut self, server: Arc<Server>) {
        while let Some(event) = self.events.recv().await {
            if let Event::Request { message, ticket } = event {
                let server = Arc::clone(&server);
                tokio::spawn(async move { ticket.reply(&answer(&server, &message).await) });
            }
        }
        drop(self.socket);
    }
}

async fn answer(server: &Arc<Server>, question: &[u8]) -> Vec<u8> {
    let (status, lines) = match publish(server, question).await {
        Ok(published) => published,
        Err(problem) => (problem.status, problem.document().to_string()),
    };
    format!("{}\n{lines}", status.as_u16()).into_bytes()
}

async fn publish(server: &Arc<Server>, question: &[u8]) -> Result<(StatusCode, String), Problem> {
    let limit = server.config().http.max_body_size;
    if question.len() > limit {
        return Err(Problem::too_large(format!("the batch has more than {limit} bytes")));
    }
    let end = question.iter().position(|byte| *byte == b'\n');
    let Some(end) = end else {
        let detail = "the first line is the token, which may be empty, and the events follow, one a line";
        return Err(Problem::bad_request(detail));
    };
    let head = head_with(&question[..end])?;
    // There is no address behind an NNG socket.
    let client = Client { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), hand_off: false };
    let span = trace::publish(&head.headers, None);
    let published =
        publish_lines(server, &client, &head, &question[end + 1..]).instrument(span.clone()).await;
    trace::answered(&span, published.as_ref().map_or_else(|problem| problem.status, |(status, _)| *status));
    published
}

/// The head of the request that the question stands for.
fn head_with(token: &[u8]) -> Result<Parts, Problem> {
    let mut head = Request::new(()).into_parts().0;
    let token = token.trim_ascii();
    if !token.is_empty() {
        let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
        let value = value.map_err(|_| Problem::bad_request("the first line is not a token"))?;
        head.headers.insert(AUTHORIZATION, value);
    }
    Ok(head)
}
