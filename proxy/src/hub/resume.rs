//! Where a subscriber begins: live, after the id it saw last, or some time ago.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::json;

use super::{Hub, Topic};
use crate::{
    event::{EventId, frame},
    log::{Position, TopicLog},
};

/// How much of an id that nobody knows is told back to the client.
const REQUESTED_CHARS_MAX: usize = 64;

/// How a subscriber wants to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the next event.
    Live,
    /// After the event that the client names by `Last-Event-ID`, whatever the text is.
    After(String),
    /// With what is there, for a first visit.
    Since(Since),
}

/// How far back a first visit looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// To the oldest event there is.
    Earliest,
    /// To this moment, in milliseconds since the Unix epoch.
    UnixMs(u64),
}

/// Events may be missing between what the client saw and what it is going to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The id that the client named.
    pub requested: String,
    /// The oldest event that is still here.
    pub oldest: Option<EventId>,
    /// Why.
    pub reason: GapReason,
    /// The id from which a resume is exact again.
    pub resumes_at: EventId,
}

/// Why a resume is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The id is older than what is kept.
    Expired,
    /// The id is not one of this instance.
    Unknown,
}

/// `?since=` is none of its three forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("since is earliest, a duration such as 90s, 15m or 2h, or an RFC 3339 time")]
pub struct SinceError;

// === impl Since ===

impl Since {
    /// Parses `earliest`, a duration back from `now_ms`, or an RFC 3339 time.
    pub fn parse(text: &str, now_ms: u64) -> Result<Self, SinceError> {
        if text == "earliest" {
            return Ok(Self::Earliest);
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self::UnixMs(u64::try_from(time.as_millisecond()).unwrap_or(0)));
        }
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(SinceError)?;
        let number: u64 = text[..split].parse().map_err(|_| SinceError)?;
        let unit_ms = match &text[split..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(SinceError),
        };
        Ok(Self::UnixMs(now_ms.saturating_sub(number.saturating_mul(unit_ms))))
    }
}

// === impl GapReason ===

impl GapReason {
    /// The text that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }
}

// === impl Gap ===

impl Gap {
    /// The event that tells a client of it. Its id makes the client's next resume exact.
    /// With several topics on one connection the id could belong to one of them only, so there is none.
    pub fn frame(&self, topic: &Topic, only_topic: bool) -> Vec<u8> {
        let data = json!({
            "topic": topic.name().as_str(),
            "requested": self.requested,
            "oldest": self.oldest.map(|id| id.to_string()),
            "reason": self.reason.as_str(),
        });
        frame::own_event("revenprox-gap", only_topic.then_some(&self.resumes_at), None, &data)
    }
}

/// The event that tells a subscriber how many events it did not get because it did not read fast enough. It has
/// no id: a client that reconnects now is sent them, as long as they are kept.
pub fn slow_gap(topic: &Topic, dropped: u64) -> Vec<u8> {
    let data = json!({ "topic": topic.name().as_str(), "reason": "slow", "dropped": dropped });
    frame::own_event("revenprox-gap", None, None, &data)
}

// === impl Hub ===

impl Hub {
    /// The position at which a subscriber begins, and the gap before it if there is one.
    ///
    /// Ids of this instance are totally ordered over its topics, so one id is a correct position in each of
    /// several topics at once.
    pub fn enter(&self, topic: &Topic, start: &Start) -> (Position, Option<Gap>) {
        match start {
            Start::Live => (topic.head(), None),
            Start::Since(since) => {
                let position = topic.read(|log| match since {
                    Since::Earliest => log.tail(),
                    Since::UnixMs(ms) => log.since(*ms),
                });
                (position.unwrap_or_default(), None)
            }
            Start::After(text) => self.resume(topic, text),
        }
    }

    fn resume(&self, topic: &Topic, text: &str) -> (Position, Option<Gap>) {
        // Taken before the log is read: whatever is appended later has a greater id.
        let reached = self.clock.reached();
        let id = text.parse::<EventId>().ok();
        let read = |log: &TopicLog| {
            let (position, complete) = match &id {
                Some(id) => log.after(id),
                None => (log.head(), false),
            };
            (position, complete, log.oldest(), log.id_before(position), log.dropped())
        };
        let (position, complete, oldest, before, dropped) =
            topic.read(read).unwrap_or((Position::default(), true, None, None, None));
        // An id of another instance is known if its event is here, or if all events above it are. A text that is no id is not, also
        // where there is no event at all.
        let here = complete && id.is_some() && before == id;
        let floor = self.floor(topic);
        let passed_by = |id: EventId| id < floor;
        let own = |id: EventId| id.origin == self.clock.origin() && id <= reached;
        let anybodys = |id: EventId| self.others.get().is_some() && id <= self.clock.ceiling();
        let known = here || id.is_some_and(|id| own(id) || anybodys(id));
        let forgotten =
            !here && dropped.is_none() && id.is_some_and(|id| self.forgot_since(&id) || passed_by(id));
        let reason = match (known, complete && !forgotten) {
            (true, true) => return (position, None),
            (true, false) => GapReason::Expired,
            (false, _) => GapReason::Unknown,
        };
        let requested = text.chars().take(REQUESTED_CHARS_MAX).collect();
        // Nothing before the position, and yet a log, means that it begins at the oldest event.
        let resumes_at = before.or(oldest.map(EventId::predecessor)).unwrap_or(reached);
        (position, Some(Gap { requested, oldest, reason, resumes_at }))
    }

    /// Whether a topic that was forgotten, and may be back with an empty log, can have had events after `id`.
    fn forgot_since(&self, id: &EventId) -> bool {
        id.ms <= self.forgotten_ms.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_has_three_forms() {
        assert_eq!(Since::parse("earliest", 0), Ok(Since::Earliest));
        assert_eq!(Since::parse("90s", 100_000), Ok(Since::UnixMs(10_000)));
        assert_eq!(Since::parse("2h", 5), Ok(Since::UnixMs(0)));
        assert_eq!(Since::parse("1970-01-01T00:00:01Z", 0), Ok(Since::UnixMs(1_000)));
        for text in ["", "5", "s", "-5s", "5 s", "latest", "99999999999999999999s"] {
            assert_eq!(Since::parse(text, 0), Err(SinceError), "{text}");
        }
    }
}
