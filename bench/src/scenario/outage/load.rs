//! Subscribes at a steady rate, half of them with tokens whose verdict is known and half with tokens nobody has seen.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::Token;
use crate::error::{Doing, Result, failed};

/// Subscribes of each kind a second.
pub(super) const RATE: u32 = 100;

/// The most subscribes that may be under way.
pub(super) const MAX_UNDER_WAY: usize = 4000;

/// Nothing takes longer, with all attempts at a webhook that does not answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Longer response heads than this are refused.
const HEAD_LIMIT: usize = 16 * 1024;

/// Whose tokens are used for what.
pub(super) struct Plan {
    /// Where to subscribe.
    pub(super) address: SocketAddr,
    /// Path and query.
    pub(super) path: String,
    /// How to sign tokens.
    pub(super) token: Token,
    /// The tokens of these numbers are known; those from here on are not.
    pub(super) known: usize,
}

/// What a token is to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its verdict is remembered.
    Known,
    /// Only the webhook could tell.
    New,
}

/// What became of a subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A stream of events.
    Stream,
    /// Another status, and the header `Retry-After` if it is a number.
    Status(u16, Option<u32>),
    /// No complete answer.
    Broken(String),
}

/// One subscribe.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) kind: Kind,
    /// When it was to be sent.
    pub(super) due: Instant,
    /// From then to the end of the response head.
    pub(super) took: Duration,
    pub(super) answer: Answer,
}

/// A load under way.
pub(super) struct Load {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<Vec<Sample>>>,
}

// === impl Load ===

impl Load {
    /// Begins to subscribe, on a thread of its own.
    pub(super) fn start(plan: Plan) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing(|| "starting the load".into())?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || runtime.block_on(run(&plan, stopped)));
        Ok(Self { stop, thread })
    }

    /// Sends no more and waits for what is under way. Each subscribe that was due is among the samples.
    pub(super) fn finish(self) -> Result<Vec<Sample>> {
        // It may have ended by itself with an error, which is told here.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| failed("the load panicked"))?
    }
}

async fn run(plan: &Plan, mut stopped: oneshot::Receiver<()>) -> Result<Vec<Sample>> {
    let mut ticks = interval(Duration::from_secs(1) / (2 * RATE));
    // What could not be sent in time is sent late, and the delay counts.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut under_way, mut samples) = (JoinSet::new(), Vec::new());
    let mut sent = 0;
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            due = ticks.tick() => {
                if under_way.len() >= MAX_UNDER_WAY {
                    return Err(failed(format!("{MAX_UNDER_WAY} subscribes wait for an answer")));
                }
                let (kind, number) = turn(sent, plan.known);
                let request = request(&plan.path, &plan.token.sign(number)?);
                under_way.spawn(subscribe(plan.address, request, kind, due.into_std()));
                sent += 1;
            }
            Some(done) = under_way.join_next() => samples.push(done.map_err(|_| failed("a subscribe panicked"))?),
        }
    }
    while let Some(done) = under_way.join_next().await {
        samples.push(done.map_err(|_| failed("a subscribe panicked"))?);
    }
    if samples.len() == sent { Ok(samples) } else { Err(failed("subscribes without a sample")) }
}

/// The kind and the token of the subscribe after `sent` others: known tokens in a circle, new ones once.
fn turn(sent: usize, known: usize) -> (Kind, usize) {
    let pair = sent / 2;
    if sent.is_multiple_of(2) { (Kind::Known, pair % known.max(1)) } else { (Kind::New, known + pair) }
}

/// A subscribe that asks for any type, so that a refusal is a status and no stream that says when to come back.
fn request(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nAuthorization: Bearer {token}\r\n\r\n")
}

async fn subscribe(address: SocketAddr, request: String, kind: Kind, due: Instant) -> Sample {
    let answer = match timeout(PATIENCE, exchange(address, &request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(e)) => Answer::Broken(e.to_string()),
        Err(_) => Answer::Broken(format!("no answer in {PATIENCE:?}")),
    };
    Sample { kind, due, took: due.elapsed(), answer }
}

/// Sends a request, reads the head of the response and leaves.
async fn exchange(address: SocketAddr, request: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(1024);
    loop {
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            return Ok(parse(&String::from_utf8_lossy(&head[..end])));
        }
        if head.len() > HEAD_LIMIT || stream.read_buf(&mut head).await? == 0 {
            return Ok(Answer::Broken("an incomplete response head".into()));
        }
    }
}

fn parse(head: &str) -> Answer {
    let Some(status) = head.split(' ').nth(1).and_then(|code| code.parse().ok()) else {
        return Answer::Broken(format!("no status in {head:?}"));
    };
    let field = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    match (status, field("content-type")) {
        (200, Some("text/event-stream")) => Answer::Stream,
        _ => Answer::Status(status, field("retry-after").and_then(|seconds| seconds.parse().ok())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tokens_come_again_and_new_ones_never() {
        let turns: Vec<_> = (0..8).map(|sent| turn(sent, 3)).collect();
        let of = |kind| turns.iter().filter(|t| t.0 == kind).map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(of(Kind::Known), [0, 1, 2, 0]);
        assert_eq!(of(Kind::New), [3, 4, 5, 6]);
    }

    #[test]
    fn heads_are_understood() {
        let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream";
        assert_eq!(parse(stream), Answer::Stream);
        let refusal = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 7";
        assert_eq!(parse(refusal), Answer::Status(503, Some(7)));
        assert_eq!(parse("HTTP/1.1 503 x\r\nRetry-After: soon"), Answer::Status(503, None));
        assert_eq!(parse("HTTP/1.1 200 OK"), Answer::Status(200, None));
        assert!(matches!(parse("nonsense"), Answer::Broken(_)));
    }
}
