//! What the main process and its client processes say to each other, one JSON value a line.

use std::net::{Ipv4Addr, SocketAddr};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use crate::error::{Result, failed};
use crate::ledger::Verdict;
use crate::stats::Histogram;

/// From the main process to a client process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    /// Open more subscribers; answered by [`Reply::Connected`].
    Connect(Connect),
    /// Forget latencies and times measured so far, and tell the number of deliveries as it grows; no answer.
    Measure,
    /// Answered by [`Reply::Totals`].
    Report,
    /// Reconcile; answered by [`Reply::Verdict`].
    Settle(Expected),
    /// Read what the subscribers that never read have waiting; answered by [`Reply::Slow`].
    ReadSlow,
    /// Close all subscribers; answered by [`Reply::Closed`].
    Disconnect,
}

/// From a client process to the main process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// All subscribers are open, or why not.
    Connected { failures: Vec<String> },
    /// Deliveries so far; sent unasked.
    Progress(u64),
    /// What was measured.
    Totals(Totals),
    /// Whether delivered is what was published.
    Verdict(Verdict),
    /// What became of the subscribers that never read.
    Slow(SlowReport),
    /// All subscribers are closed.
    Closed,
}

/// How to subscribe, and how often.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Connect {
    /// Where; subscriber i takes the address at i modulo their number.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Connections come from this address on loopback.
    pub(crate) source: Ipv4Addr,
    /// Number of the first subscriber.
    pub(crate) first: usize,
    /// How many subscribers.
    pub(crate) count: usize,
    /// Path and query; `{topic}` is replaced by the subscriber's topic.
    pub(crate) path: String,
    /// Whether subscriber i reads topic i instead of topic 0.
    pub(crate) own_topics: bool,
    /// Further header lines, without line ends.
    pub(crate) headers: Vec<String>,
    /// A token of its own for each subscriber.
    pub(crate) token: Option<Token>,
    /// Every so many subscribers one never reads; 0 for none.
    pub(crate) slow_every: usize,
    /// Connections of one process that may be under way at once.
    pub(crate) in_flight: usize,
    /// Number of publishers whose events will come.
    pub(crate) publishers: usize,
    /// The sequence number each subscriber is owed first.
    pub(crate) first_sequence: u32,
}

/// How to sign tokens: HS256, `sub` is the subscriber's number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    /// The shared secret.
    pub(crate) secret: String,
    /// Becomes a part of each `sub`, so that another round's tokens differ.
    pub(crate) salt: u64,
    /// Expiry, seconds since 1970.
    pub(crate) expires: u64,
}

/// What was published so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Expected {
    /// One topic: events of each publisher.
    Shared(Vec<u32>),
    /// Own topics: events of each topic, all numbered by publisher 0.
    Own(Vec<u32>),
}

/// What a client process, or all of them, counted since [`Command::Measure`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Deliveries since the subscribers were opened.
    pub(crate) delivered: u64,
    /// Monotonic microseconds of the last delivery.
    pub(crate) last_at: u64,
    /// From scheduled publish to receipt.
    pub(crate) latency: Histogram,
    /// Subscribers whose connection ended, other than those that never read.
    pub(crate) ended: u64,
}

/// What became of the subscribers that never read, seen from their side.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SlowReport {
    /// How many there were.
    pub(crate) slow: u64,
    /// How many of them the server had cut off.
    pub(crate) cut: u64,
    /// Events that could still be read from their sockets.
    pub(crate) events: u64,
}

#[derive(Serialize)]
struct Claims {
    sub: String,
    exp: u64,
}

// === impl Token ===

impl Token {
    /// The token of subscriber `number`, the same each time.
    pub(crate) fn sign(&self, number: usize) -> Result<String> {
        let claims = Claims { sub: format!("subscriber-{}-{number}", self.salt), exp: self.expires };
        let header = Header { kid: Some("k".into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(self.secret.as_bytes()))
            .map_err(|e| failed(format!("signing a token: {e}")))
    }
}

// === impl Totals ===

impl Totals {
    pub(super) fn merge(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.last_at = self.last_at.max(other.last_at);
        self.latency.merge(&other.latency);
        self.ended += other.ended;
    }
}
