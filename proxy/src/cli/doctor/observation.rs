//! What was observed on the way to a proxy: plain data, made by the probes and judged elsewhere.

use std::time::Duration;

use http::{HeaderMap, StatusCode, Version};

/// Everything that was observed.
#[derive(Debug)]
pub(super) struct Observations {
    /// What the request for a stream was answered with.
    pub(super) answer: Answer,
    /// A head that came when nobody waited for it any more.
    pub(super) late: Option<Head>,
    /// The encoding that a stream came in when a browser's encodings were offered.
    pub(super) encoding: Option<String>,
    /// How events came through, if there were any to send.
    pub(super) timed: Result<Timed, Untimed>,
    /// What the silent stream did; `None` if it was not watched.
    pub(super) silence: Option<Silence>,
    /// What a resume brought; `None` if there was no stream to compare it with.
    pub(super) resumed: Option<Resumed>,
    /// What a page of an origin is told; `None` without an origin.
    pub(super) cors: Option<Cors>,
    /// How far the proxy's clock is ahead of the one here, in milliseconds, as far as it shows.
    pub(super) clock_ms: Option<i64>,
}

/// What the request for a stream was answered with.
#[derive(Debug)]
pub(super) enum Answer {
    /// Something with a head, after this time.
    Head(Head, Duration),
    /// No head within this time, on a connection that stayed open.
    Late(Duration),
    /// No head: there is no connection, or it ended.
    Nothing(String),
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    /// What a refusal says of itself.
    pub(super) detail: String,
}

/// Events that were sent and when they came, all times since the first was sent.
#[derive(Debug, Default)]
pub(super) struct Timed {
    /// When each was sent, and when the proxy had accepted it.
    pub(super) sent: Vec<(Duration, Duration)>,
    /// When each came.
    pub(super) came: Vec<Option<Duration>>,
    /// If none came in time: the bytes that had to be published besides until something did.
    pub(super) came_after_bytes: Option<u64>,
}

/// Why no events were sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Untimed {
    /// It was not wanted, or there was no stream.
    NotWanted,
    /// They could not be published.
    Refused(String),
}

/// A stream on which nothing was published.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// How long it was watched.
    pub(super) watched: Duration,
    /// When something came, since the silence began.
    pub(super) heard: Vec<Duration>,
    /// When and how the stream ended, if it did.
    pub(super) ended: Option<(Duration, String)>,
    /// The event with which the proxy itself ended it.
    pub(super) farewell: Option<String>,
}

/// What a second request with `Last-Event-ID` brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// What was expected: the events after it, or the notice that the proxy does not know the id.
    AsExpected,
    /// The proxy says that events are missing, for this reason.
    Gap(String),
    /// A stream without any of it.
    Ignored,
    /// Something else.
    Failed(String),
}

/// What a page of an origin is told.
#[derive(Debug, Default)]
pub(super) struct Cors {
    pub(super) origin: String,
    /// `Access-Control-Allow-Origin` of the stream, each time it is there.
    pub(super) allowed: Vec<String>,
    /// The status of the preflight, and the headers that it allows.
    pub(super) preflight: Option<(StatusCode, String)>,
}

// === impl Answer ===

impl Answer {
    /// The head, if it is that of a stream.
    pub(super) fn stream(&self) -> Option<&Head> {
        match self {
            Self::Head(head, _) if head.status == StatusCode::OK => Some(head),
            _ => None,
        }
    }
}

// === impl Head ===

impl Head {
    /// A header's value; empty if it is absent or no text.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

// === impl Timed ===

impl Timed {
    /// How many events came.
    pub(super) fn count(&self) -> usize {
        self.came.iter().flatten().count()
    }

    /// How long each event that came was on its way.
    pub(super) fn delays(&self) -> Vec<Duration> {
        let pairs = self.sent.iter().zip(&self.came);
        pairs.filter_map(|((sent, _), came)| Some(came.as_ref()?.saturating_sub(*sent))).collect()
    }

    /// How long a publish took: the median.
    pub(super) fn publish_time(&self) -> Duration {
        let mut took: Vec<_> =
            self.sent.iter().map(|(sent, accepted)| accepted.saturating_sub(*sent)).collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied().unwrap_or_default()
    }

    /// In how many groups the events came: those that come together, or nearly so, are one.
    pub(super) fn bursts(&self, together: Duration) -> usize {
        let mut came: Vec<_> = self.came.iter().flatten().collect();
        came.sort_unstable();
        let apart = came.windows(2).filter(|pair| pair[1].saturating_sub(*pair[0]) > together).count();
        if came.is_empty() { 0 } else { apart + 1 }
    }
}

// === impl Silence ===

impl Silence {
    /// How long nothing had come when the stream ended.
    pub(super) fn quiet_before_end(&self) -> Option<Duration> {
        let (at, _) = self.ended.as_ref()?;
        Some(at.saturating_sub(self.heard.last().copied().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn events_that_come_together_are_one_burst() {
        let timed = |came: &[Option<u64>]| Timed {
            sent: (0..came.len() as u64).map(|n| (ms(n * 200), ms(n * 200 + 1))).collect(),
            came: came.iter().map(|at| at.map(ms)).collect(),
            came_after_bytes: None,
        };
        let steady = timed(&[Some(2), Some(203), Some(401)]);
        assert_eq!((steady.count(), steady.bursts(ms(50))), (3, 3));
        assert_eq!(steady.delays(), [ms(2), ms(3), ms(1)]);
        let held = timed(&[Some(900), Some(901), None, Some(1_500)]);
        assert_eq!((held.count(), held.bursts(ms(50))), (3, 2));
        assert_eq!(held.delays(), [ms(900), ms(701), ms(900)]);
        assert_eq!(timed(&[None, None]).bursts(ms(50)), 0);
    }
}
