//! Where a subscriber begins: live, after the id it saw last, or some time ago.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::json;

use super::{Hub, Topic, now_ms, topic::ON_ITS_WAY_MS};
use crate::{
    event::{Cursor, Digest, EventId, frame},
    log::{Position, Reordered, Resumed, TopicLog},
};

/// An id that is as far ahead of the clock here may be another instance's: clocks differ.
const SKEW_MS_MAX: u64 = 10_000;

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
    /// Not at all, but the subscriber is told where it is.
    Now,
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
    /// What the client names from then on, so that its next resume is exact.
    pub resumes_at: Cursor,
}

/// Why a resume is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The id is older than what is kept.
    Expired,
    /// The id is not one of this instance.
    Unknown,
}

/// `?since=` is none of its four forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("since is now, earliest, a duration such as 90s, 15m or 2h, or an RFC 3339 time")]
pub struct SinceError;

// === impl Since ===

impl Since {
    /// Parses `now`, `earliest`, a duration back from `now_ms`, or an RFC 3339 time.
    pub fn parse(text: &str, now_ms: u64) -> Result<Self, SinceError> {
        if text == "earliest" {
            return Ok(Self::Earliest);
        }
        if text == "now" {
            return Ok(Self::Now);
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
    /// The position at which a subscriber begins, and what it is sent before that: that there is a gap, or single events that
    /// have another place in this log than in the one that it comes from.
    ///
    /// Ids of one instance are totally ordered over its topics, so one id is a correct position in each of
    /// several topics at once; only the digest in it is of the one topic that has the event.
    pub fn enter(&self, topic: &Topic, start: &Start, only_topic: bool) -> (Position, Vec<u8>) {
        let at = |place: &dyn Fn(&TopicLog) -> Position| {
            topic.enter(|log| (place(log), Vec::new())).unwrap_or_default()
        };
        match start {
            Start::Live => at(&TopicLog::head),
            Start::Since(Since::Now) => self.begin(topic, only_topic),
            Start::Since(Since::Earliest) => at(&TopicLog::tail),
            Start::Since(Since::UnixMs(ms)) => at(&|log| log.since(*ms)),
            Start::After(text) => {
                let (resumed, gap) = self.resume(topic, text, only_topic);
                let told = gap.map(|gap| gap.frame(topic, only_topic));
                (resumed.position, told.unwrap_or(resumed.first))
            }
        }
    }

    /// The end of the log, and an event without data that is not dispatched and only says the place (WHATWG HTML, section 9.2.6): whoever
    /// loses its connection before the first event comes is not to miss that.
    fn begin(&self, topic: &Topic, only_topic: bool) -> (Position, Vec<u8>) {
        let (position, cursor) =
            topic.read(|log| (log.head(), log.cursor_at(log.head()))).unwrap_or((Position::default(), None));
        let mut place = Vec::new();
        if only_topic {
            frame::write_id(&cursor.unwrap_or_else(|| self.clock.next(now_ms()).into()), &mut place);
            place.push(b'\n');
        }
        (position, place)
    }

    fn resume(&self, topic: &Topic, text: &str, only_topic: bool) -> (Resumed, Option<Gap>) {
        // Taken before the log is read: whatever is appended later has a greater id.
        let reached = self.clock.reached();
        let cursor = text.parse::<Cursor>().ok();
        let id = cursor.map(|cursor| cursor.id);
        let read = |log: &TopicLog| {
            let resumed = match &cursor {
                Some(cursor) if only_topic || log.contains(&cursor.id) => log.resume(cursor),
                Some(Cursor { id, .. }) => {
                    let (position, complete) = log.after(id);
                    Resumed { position, complete, ..Resumed::default() }
                }
                None => Resumed { position: log.head(), ..Resumed::default() },
            };
            let before = log.cursor_at(resumed.position);
            (resumed.position, (resumed, log.oldest(), before, log.dropped()))
        };
        let nothing = || (Resumed { complete: true, ..Resumed::default() }, None, None, None);
        let (resumed, oldest, before, dropped) = topic.enter(read).map_or_else(nothing, |(_, found)| found);
        let complete = resumed.complete;
        // An id of another instance is known if its event is here, or if all events above it are. A text that is no id is not, also
        // where there is no event at all.
        let here = complete && id.is_some() && before.map(|before| before.id) == id;
        let floor = self.floor(topic);
        let passed_by = |id: EventId| id < floor;
        let own = |id: EventId| id.origin == self.clock.origin() && id <= reached;
        let sane = |id: EventId| id <= self.clock.ceiling() || id.ms <= now_ms() + SKEW_MS_MAX;
        let anybodys = |id: EventId| self.others.get().is_some() && sane(id);
        let known = here || id.is_some_and(|id| own(id) || anybodys(id));
        let forgotten =
            !here && dropped.is_none() && id.is_some_and(|id| self.forgot_since(&id) || passed_by(id));
        let reason = match (known, complete && !forgotten) {
            (true, true) => {
                self.count_resume(resumed.reordered);
                return (resumed, None);
            }
            (true, false) => GapReason::Expired,
            (false, _) => GapReason::Unknown,
        };
        let requested = text.chars().take(REQUESTED_CHARS_MAX).collect();
        // Nothing before the position, and yet a log, means that it begins at the oldest event.
        let resumes_at = before.or(oldest.map(|id| id.predecessor().into())).unwrap_or(reached.into());
        (resumed, Some(Gap { requested, oldest, reason, resumes_at }))
    }

    /// Whether a subscriber has seen something at another instance that is still on its way to this one. If it began now, that could
    /// not be told from what it has not seen.
    pub fn is_behind(&self, topic: &Topic, start: &Start) -> bool {
        let Start::After(text) = start else { return false };
        let Some(cursor) = text.parse::<Cursor>().ok().filter(|_| self.others.get().is_some()) else {
            return false;
        };
        let now = now_ms();
        let recent = cursor.id.ms + ON_ITS_WAY_MS >= now && cursor.id.ms <= now + SKEW_MS_MAX;
        let arrived = |log: &TopicLog| {
            log.contains(&cursor.id) && log.resume(&cursor).reordered != Some(Reordered::Again)
        };
        let own = cursor.id.origin == self.clock.origin() && cursor.others == Digest::default();
        recent && !own && !topic.read(arrived).unwrap_or(false)
    }

    /// Subscribers that came from a log with another order: those who got exactly what they had not seen, and those who may have
    /// got some of it again.
    pub fn reordered(&self) -> (u64, u64) {
        let [exactly, again] = &self.reordered;
        (exactly.load(Ordering::Relaxed), again.load(Ordering::Relaxed))
    }

    fn count_resume(&self, reordered: Option<Reordered>) {
        let [exactly, again] = &self.reordered;
        let counter = match reordered {
            None => return,
            Some(Reordered::Exactly) => exactly,
            Some(Reordered::Again) => again,
        };
        counter.fetch_add(1, Ordering::Relaxed);
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
    fn since_has_four_forms() {
        assert_eq!(Since::parse("now", 5), Ok(Since::Now));
        assert_eq!(Since::parse("earliest", 0), Ok(Since::Earliest));
        assert_eq!(Since::parse("90s", 100_000), Ok(Since::UnixMs(10_000)));
        assert_eq!(Since::parse("2h", 5), Ok(Since::UnixMs(0)));
        assert_eq!(Since::parse("1970-01-01T00:00:01Z", 0), Ok(Since::UnixMs(1_000)));
        for text in ["", "5", "s", "-5s", "5 s", "latest", "99999999999999999999s"] {
            assert_eq!(Since::parse(text, 0), Err(SinceError), "{text}");
        }
    }
}
