//! A stream that is watched: what comes is noted with its time, whatever else is done meanwhile.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::observation::{Answer, Head};
use crate::client::{ClientError, Event, HttpClient, Parser, http::refusal};

/// News that may wait to be looked at. A doctor's own events are far fewer.
const NEWS_MAX: usize = 4096;

/// What happened to a stream.
enum News {
    Head(Box<Head>),
    Bytes(Bytes),
    End(String),
}

/// Something that came, or the end.
#[derive(Debug)]
pub(super) enum Part {
    /// Bytes, and the events that they complete, if they do.
    Came(Vec<Event>),
    /// The end, and how it came.
    End(String),
}

/// A request for a stream and everything that comes of it.
pub(super) struct Stream {
    asked: Instant,
    news: mpsc::Receiver<(Instant, News)>,
    task: JoinHandle<()>,
    parser: Parser,
    late: Option<Head>,
}

// === impl Stream ===

impl Stream {
    /// Sends the request. Must be called within a runtime.
    pub(super) fn open(client: &HttpClient, request: Request<Full<Bytes>>) -> Self {
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let client = client.clone();
        let task = tokio::spawn(async move {
            let end = match watch(&client, request, &sender).await {
                Ok(()) => "the stream ended".to_owned(),
                Err(error) => error,
            };
            let _ = sender.send((Instant::now(), News::End(end))).await;
        });
        Self { asked: Instant::now(), news, task, parser: Parser::new(), late: None }
    }

    /// Waits for the head.
    pub(super) async fn answer(&mut self, limit: Duration) -> Answer {
        match timeout_at(self.asked + limit, self.news.recv()).await {
            Ok(Some((at, News::Head(head)))) => Answer::Head(*head, at - self.asked),
            Ok(Some((_, News::End(why)))) => Answer::Nothing(why),
            Ok(_) => Answer::Nothing("the stream ended".to_owned()),
            Err(_) => Answer::Late(limit),
        }
    }

    /// The head, if it came later than it was waited for.
    pub(super) fn late_head(&mut self) -> Option<Head> {
        self.late.take()
    }

    /// What comes next and when it came; `None` if nothing does before the deadline. What had come by then is told
    /// even afterwards. A head that is late is kept.
    pub(super) async fn next(&mut self, deadline: Instant) -> Option<(Instant, Part)> {
        loop {
            let (at, news) = match self.news.try_recv() {
                Ok(news) => news,
                Err(_) => timeout_at(deadline, self.news.recv()).await.ok()??,
            };
            match news {
                News::Head(head) => self.late = Some(*head),
                News::End(why) => return Some((at, Part::End(why))),
                News::Bytes(bytes) => {
                    let part = match self.parser.feed(&bytes) {
                        Ok(events) => Part::Came(events),
                        Err(error) => Part::End(error.to_string()),
                    };
                    return Some((at, part));
                }
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads the answer to a request until it ends, or nobody listens any more.
async fn watch(
    client: &HttpClient,
    request: Request<Full<Bytes>>,
    sender: &mpsc::Sender<(Instant, News)>,
) -> Result<(), String> {
    let (parts, mut body) = client.send(request).await.map_err(|error| error.to_string())?.into_parts();
    let at = Instant::now();
    let mut head =
        Head { status: parts.status, version: parts.version, headers: parts.headers, detail: String::new() };
    if head.status != StatusCode::OK {
        head.detail = match refusal(head.status, body).await {
            ClientError::Refused { detail, .. } => detail,
            error => error.to_string(),
        };
        let _ = sender.send((at, News::Head(Box::new(head)))).await;
        return Ok(());
    }
    let _ = sender.send((at, News::Head(Box::new(head)))).await;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the connection broke: {error}"))?;
        let Ok(bytes) = frame.into_data() else { continue };
        if sender.send((Instant::now(), News::Bytes(bytes))).await.is_err() {
            break;
        }
    }
    Ok(())
}
