//! Makes the observations: opens streams, publishes, waits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use tokio::time::{Instant, sleep_until};

use super::{
    observation::{Answer, Cors, Observations, Resumed, Silence, Timed, Untimed},
    stream::{Part, Stream},
};
use crate::{
    client::{ClientError, Event, HttpClient, Publication, Publisher, Target, Token},
    event::EventId,
};

/// How many events are sent, and how far apart.
const EVENTS: u32 = 10;
const APART: Duration = Duration::from_millis(200);

/// How long a head, or what was sent, may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long the beginning of a stream is waited for, in which a proxy that turns a client away says so.
const BEGINNING: Duration = Duration::from_millis(300);

/// What is published to fill a buffer that nothing has left: pieces of this size, and at most so many.
const PIECE_BYTES: usize = 4096;
const PIECES_MAX: u64 = 64;

/// The encodings that browsers offer.
const ENCODINGS: &str = "gzip, deflate, br, zstd";

/// What the proxy ends a stream with.
const FAREWELLS: [&str; 3] = ["revenprox-retry", "revenprox-closed", "revenprox-token-expired"];

/// What to look at, and by what way.
pub(super) struct Plan {
    pub(super) client: HttpClient,
    pub(super) target: Target,
    pub(super) topic: String,
    pub(super) token: Token,
    /// Publishes by a way that may be another; `None` to publish nothing.
    pub(super) publisher: Option<Publisher>,
    /// The origin of a page.
    pub(super) origin: Option<String>,
    /// How long to stay on the silent stream.
    pub(super) idle: Duration,
}

/// An examination under way.
struct Examination<'a> {
    plan: &'a Plan,
    /// Tells the events of this examination from all others.
    mark: String,
    stream: Stream,
    /// The ids of events of this examination that came, by their number.
    ids: Vec<Option<String>>,
    /// When something came last.
    last: Instant,
    /// When and how the stream ended.
    ended: Option<(Instant, String)>,
    farewell: Option<String>,
}

/// Looks at everything. `say` is told what takes its time.
pub(super) async fn observe(plan: &Plan, say: &dyn Fn(&str)) -> Result<Observations, ClientError> {
    let mut stream = Stream::open(&plan.client, plan.request(None, true)?);
    let answer = stream.answer(PATIENCE).await;
    let clock_ms = date_ms(&answer);
    let encoding = answer.stream().map(|head| head.header("content-encoding").to_owned());
    let encoding = encoding.filter(|encoding| !encoding.is_empty() && encoding != "identity");
    if encoding.is_some() {
        // What is compressed cannot be read here, so the rest is looked at without.
        stream = Stream::open(&plan.client, plan.request(None, false)?);
        stream.answer(PATIENCE).await;
    }
    let timed = Err(Untimed::NotWanted);
    let mut seen = Observations {
        answer,
        late: None,
        encoding,
        timed,
        silence: None,
        resumed: None,
        cors: None,
        clock_ms,
    };
    if seen.answer.stream().is_none() && !matches!(seen.answer, Answer::Late(_)) {
        return Ok(seen);
    }
    let mark = format!("doctor-{:08x}", getrandom::u32().unwrap_or_default());
    let (ids, last) = (Vec::new(), Instant::now());
    let mut examination = Examination { plan, mark, stream, ids, last, ended: None, farewell: None };
    examination.beginning().await;
    if examination.farewell.is_none() {
        if let Some(publisher) = &plan.publisher {
            say(&format!("publishing {EVENTS} events to {}", plan.topic));
            let (timed, clock_ms) = examination.timed(publisher).await;
            // An id has milliseconds, and is the proxy's own.
            (seen.timed, seen.clock_ms) = (timed, clock_ms.or(seen.clock_ms));
        }
        seen.resumed = Some(examination.resume().await?);
    }
    if !plan.idle.is_zero() || examination.farewell.is_some() {
        say(&format!("staying on the silent stream for {} s", plan.idle.as_secs()));
        seen.silence = Some(examination.silence().await);
    }
    seen.late = examination.stream.late_head();
    if let Some(origin) = &plan.origin {
        seen.cors = Some(plan.cors(origin, &seen.answer).await?);
    }
    Ok(seen)
}

// === impl Plan ===

impl Plan {
    fn request(
        &self,
        last_event_id: Option<&str>,
        compressed: bool,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = self.target.url(std::slice::from_ref(&self.topic), &[])?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if compressed {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ENCODINGS));
        }
        if let Some(id) = last_event_id {
            let id = HeaderValue::from_str(id).map_err(|_| ClientError::Header("last event id"))?;
            headers.insert("last-event-id", id);
        }
        if let Some(origin) = &self.origin {
            let origin = HeaderValue::from_str(origin).map_err(|_| ClientError::Header("origin"))?;
            headers.insert(header::ORIGIN, origin);
        }
        headers.extend(self.token.header()?.map(|token| (header::AUTHORIZATION, token)));
        Ok(request)
    }

    /// What a page of an origin is told, by the head of the stream and by a preflight.
    async fn cors(&self, origin: &str, answer: &Answer) -> Result<Cors, ClientError> {
        let values = |head: &super::observation::Head| {
            let values = head.headers.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter();
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
        };
        let allowed = answer.stream().map(values).unwrap_or_default();
        let mut request = self.request(None, false)?;
        *request.method_mut() = Method::OPTIONS;
        let headers = request.headers_mut();
        // A preflight carries no token; it asks whether one may be sent.
        headers.remove(header::AUTHORIZATION);
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET"));
        headers.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("authorization"));
        let preflight = self.client.fetch(request).await.ok().map(|answer| {
            let allowed = answer.headers().get(header::ACCESS_CONTROL_ALLOW_HEADERS);
            let allowed = allowed.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            (answer.status(), allowed.unwrap_or_default())
        });
        Ok(Cors { origin: origin.to_owned(), allowed, preflight })
    }
}

// === impl Examination ===

impl Examination<'_> {
    /// The events that come next, and when; `None` if nothing comes before the deadline.
    async fn next(&mut self, deadline: Instant) -> Option<(Instant, Vec<Event>)> {
        match self.stream.next(deadline).await? {
            (at, Part::Came(events)) => {
                self.last = at;
                let farewell = events.iter().find(|event| FAREWELLS.contains(&event.event.as_str()));
                if let Some(event) = farewell {
                    self.farewell = Some(format!("{} {}", event.event, event.data));
                }
                Some((at, events))
            }
            (at, Part::End(why)) => {
                self.ended.get_or_insert((at, why));
                None
            }
        }
    }

    /// Takes what the stream begins with.
    async fn beginning(&mut self) {
        let deadline = Instant::now() + BEGINNING;
        while self.next(deadline).await.is_some() {}
    }

    /// The number of an event of this examination.
    fn number(&self, event: &Event) -> Option<usize> {
        event.data.strip_prefix(&self.mark)?.split_whitespace().next()?.parse().ok()
    }

    /// Publishes events at even distances, and notes when they come.
    async fn timed(&mut self, publisher: &Publisher) -> (Result<Timed, Untimed>, Option<i64>) {
        let mut timed = Timed::default();
        let (begin, begin_ms) = (Instant::now(), unix_ms());
        for n in 0..EVENTS {
            sleep_until(begin + APART * n).await;
            let at = begin.elapsed();
            if let Err(error) = self.publish(publisher, &format!("{} {n}", self.mark)).await {
                return (Err(Untimed::Refused(error.to_string())), None);
            }
            timed.sent.push((at, begin.elapsed()));
        }
        timed.came = vec![None; timed.sent.len()];
        self.ids = vec![None; timed.sent.len()];
        let deadline = Instant::now() + PATIENCE;
        while timed.count() < timed.sent.len() {
            let Some((at, events)) = self.next(deadline).await else { break };
            for event in events {
                let Some(n) = self.number(&event).filter(|n| *n < timed.came.len()) else { continue };
                timed.came[n].get_or_insert(at - begin);
                self.ids[n] = Some(event.id);
            }
        }
        if timed.count() == 0 && self.ended.is_none() {
            timed.came_after_bytes = self.fill(publisher).await;
        }
        let id: Option<EventId> = self.ids.iter().flatten().next().and_then(|id| id.parse().ok());
        let sent_ms = timed.sent.first().map(|(at, _)| begin_ms + i64::try_from(at.as_millis()).unwrap_or(0));
        let clock = id.zip(sent_ms).map(|(id, sent)| i64::try_from(id.ms).unwrap_or(i64::MAX) - sent);
        (Ok(timed), clock)
    }

    async fn publish(&self, publisher: &Publisher, data: &str) -> Result<(), ClientError> {
        let data = Bytes::copy_from_slice(data.as_bytes());
        publisher.publish(&self.plan.topic, data, &Publication::default()).await.map(drop)
    }

    /// Publishes more and more until something comes, and returns how many bytes it took.
    async fn fill(&mut self, publisher: &Publisher) -> Option<u64> {
        let piece = format!("{} filling {}", self.mark, "x".repeat(PIECE_BYTES));
        for pieces in 1..=PIECES_MAX {
            self.publish(publisher, &piece).await.ok()?;
            let deadline = Instant::now() + APART / 2;
            if self.next(deadline).await.is_some() {
                return Some(pieces * PIECE_BYTES as u64);
            }
        }
        None
    }

    /// Asks for what comes after the first event, or after an id that no proxy knows, on another connection.
    async fn resume(&self) -> Result<Resumed, ClientError> {
        let first = self.ids.first().cloned().flatten();
        let id = first.clone().unwrap_or_else(|| self.mark.clone());
        let mut stream = Stream::open(&self.plan.client, self.plan.request(Some(&id), false)?);
        match stream.answer(PATIENCE).await {
            Answer::Head(head, _) if head.status == http::StatusCode::OK => {}
            Answer::Head(head, _) => return Ok(Resumed::Failed(format!("{}: {}", head.status, head.detail))),
            Answer::Late(_) => return Ok(Resumed::Ignored),
            Answer::Nothing(why) => return Ok(Resumed::Failed(why)),
        }
        let deadline = Instant::now() + PATIENCE;
        while let Some((_, part)) = stream.next(deadline).await {
            let Part::Came(events) = part else { break };
            for event in events {
                if event.event == "revenprox-gap" {
                    let data: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
                    let is_asked_for = first.is_none() && data["requested"] == id.as_str();
                    let reason = data["reason"].as_str().unwrap_or("no reason given").to_owned();
                    return Ok(if is_asked_for { Resumed::AsExpected } else { Resumed::Gap(reason) });
                }
                if first.is_some() && self.number(&event) == Some(1) {
                    return Ok(Resumed::AsExpected);
                }
            }
        }
        Ok(Resumed::Ignored)
    }

    /// Watches the stream while nothing is published to it. The silence began with what came last.
    async fn silence(&mut self) -> Silence {
        let (begin, deadline) = (self.last, Instant::now() + self.plan.idle);
        let mut heard = Vec::new();
        while let Some((at, _)) = self.next(deadline).await {
            heard.push(at - begin);
        }
        let ended = self.ended.take().map(|(at, why)| (at - begin, why));
        Silence { watched: deadline - begin, heard, ended, farewell: self.farewell.take() }
    }
}

fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// How far the clock behind the header `Date` is ahead of the one here. It has whole seconds, which began half a second ago on
/// average.
fn date_ms(answer: &Answer) -> Option<i64> {
    let date = httpdate::parse_http_date(answer.stream()?.header("date")).ok()?;
    let ms = date.duration_since(UNIX_EPOCH).ok()?.as_millis();
    Some(i64::try_from(ms).ok()? + 500 - unix_ms())
}
