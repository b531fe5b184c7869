//! What the main process and its client processes say to each other, one JSON value a line.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use crate::error::{Result, failed};
use crate::ledger::Verdict;
use crate::stats::Histogram;

/// No connect takes longer than this, or the run fails.
const CONNECT_LIMIT: Duration = Duration::from_mins(1);
/// And for each subscriber of a process so much longer.
const CONNECT_LIMIT_EACH: Duration = Duration::from_millis(10);

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
    /// What they read.
    pub(crate) topics: Topics,
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
    /// Servers that work as one: subscriber i is at server i modulo this, as is publisher i.
    pub(crate) instances: usize,
    /// The sequence number each subscriber is owed first.
    pub(crate) first_sequence: u32,
}

/// Which topic a subscriber reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Topics {
    /// All read topic 0.
    One,
    /// Subscriber i reads topic i.
    Own,
    /// Each reads one of so many, at random but the same in every run.
    Random(usize),
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
    /// Shared topics: events of each topic, and in each topic of each of so many publishers.
    Each { publishers: usize, counts: Vec<u32> },
}

/// What a client process, or all of them, counted since [`Command::Measure`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Deliveries since the subscribers were opened.
    pub(crate) delivered: u64,
    /// Monotonic microseconds of the last delivery.
    pub(crate) last_at: u64,
    /// From scheduled publish to receipt, of events that were published at the subscriber's own server.
    pub(crate) latency: Histogram,
    /// The same of events that came from another server.
    pub(crate) remote: Histogram,
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

// === impl Connect ===

impl Connect {
    /// How long all of it may take.
    pub(super) fn time_limit(&self) -> Duration {
        CONNECT_LIMIT + CONNECT_LIMIT_EACH * u32::try_from(self.count).unwrap_or(u32::MAX)
    }
}

// === impl Topics ===

impl Topics {
    /// The topic of a subscriber.
    pub(crate) fn of(self, subscriber: usize) -> usize {
        match self {
            Self::One => 0,
            Self::Own => subscriber,
            Self::Random(among) => {
                let random = scattered(subscriber as u64) % among.max(1) as u64;
                usize::try_from(random).expect("a remainder is smaller than its divisor")
            }
        }
    }
}

// === impl Expected ===

impl Expected {
    /// How many events `publisher` published to `topic`.
    pub(crate) fn count(&self, topic: usize, publisher: usize) -> u32 {
        let count = match self {
            Self::Shared(counts) => counts.get(publisher),
            Self::Own(counts) => counts.get(topic),
            Self::Each { publishers, counts } => counts.get(topic * publishers + publisher),
        };
        count.copied().unwrap_or(0)
    }
}

// === impl Totals ===

impl Totals {
    pub(super) fn merge(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.last_at = self.last_at.max(other.last_at);
        self.latency.merge(&other.latency);
        self.remote.merge(&other.remote);
        self.ended += other.ended;
    }
}

/// A number that looks random (the finalizer of `SplitMix64`).
fn scattered(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_topics_are_all_read_and_about_equally_often() {
        let mut readers = vec![0; 50];
        (0..50_000).for_each(|n| readers[Topics::Random(50).of(n)] += 1);
        assert!(readers.iter().all(|n| (850..1150).contains(n)), "{readers:?}");
        assert_eq!((Topics::One.of(7), Topics::Own.of(7)), (0, 7));
    }

    #[test]
    fn what_is_owed_depends_on_topic_and_publisher() {
        let each = Expected::Each { publishers: 2, counts: vec![1, 2, 3, 4] };
        assert_eq!((each.count(0, 1), each.count(1, 0), each.count(2, 0)), (2, 3, 0));
        assert_eq!(Expected::Own(vec![5, 6]).count(1, 0), 6);
        assert_eq!(Expected::Shared(vec![5, 6]).count(9, 0), 5);
    }
}
