//! What the answers to a load amount to.

use std::time::Instant;

use super::load::{Answer, Kind, Sample};
use crate::stats::Histogram;

/// When what happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The webhook went down.
    pub(super) down: Instant,
    /// The breaker was seen open.
    pub(super) open: Instant,
    /// The webhook came back.
    pub(super) up: Instant,
    /// The breaker was seen closed.
    pub(super) closed: Instant,
}

/// Answers to subscribes of one kind.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// A stream.
    pub(super) accepted: u64,
    /// 503 and the time to come back after.
    pub(super) put_off: u64,
    /// Anything else.
    pub(super) wrong: u64,
    /// The first answer that was wrong.
    pub(super) example: Option<Answer>,
    /// Answer times of all of them.
    pub(super) times: Histogram,
}

/// The answers of a run.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Known tokens while the webhook was down.
    pub(super) known_down: Tally,
    /// Known tokens before and after.
    pub(super) known_up: Tally,
    /// New tokens from the webhook's end until the breaker was open.
    pub(super) new_before_open: Tally,
    /// New tokens while it was open.
    pub(super) new_open: Tally,
    /// New tokens while the webhook was back but the breaker not closed.
    pub(super) new_recovering: Tally,
    /// New tokens while all was well.
    pub(super) new_up: Tally,
}

// === impl Books ===

impl Books {
    /// Sorts answers by kind and by the time at which the subscribe was due.
    pub(super) fn of(samples: &[Sample], times: &Times) -> Self {
        let mut books = Self::default();
        for sample in samples {
            let due = sample.due;
            let tally = match sample.kind {
                Kind::Known if due >= times.down && due < times.up => &mut books.known_down,
                Kind::Known => &mut books.known_up,
                // The call that judges it may be under way when the webhook goes.
                Kind::New if due < times.down && due + sample.took < times.down => &mut books.new_up,
                Kind::New if due < times.open => &mut books.new_before_open,
                Kind::New if due < times.up => &mut books.new_open,
                Kind::New if due < times.closed => &mut books.new_recovering,
                Kind::New => &mut books.new_up,
            };
            tally.add(sample);
        }
        books
    }

    /// What must not have happened, in words.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |tally: &Tally, what: &str, bad: u64| {
            if bad > 0 {
                faults.push(format!("{bad} {what}, such as {:?}", tally.example));
            }
        };
        for known in [&self.known_down, &self.known_up] {
            check(known, "subscribes with a known token failed", known.wrong + known.put_off);
        }
        let down = &self.new_open;
        check(down, "new tokens were not put off while the breaker was open", down.wrong + down.accepted);
        for new in [&self.new_before_open, &self.new_recovering] {
            check(new, "new tokens were neither accepted nor put off", new.wrong);
        }
        let up = &self.new_up;
        check(up, "new tokens failed while the webhook answered", up.wrong + up.put_off);
        faults
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, sample: &Sample) {
        self.times.record(u64::try_from(sample.took.as_micros()).unwrap_or(u64::MAX));
        match sample.answer {
            Answer::Stream => self.accepted += 1,
            Answer::Status(503, Some(seconds)) if seconds > 0 => self.put_off += 1,
            _ => self.wrong += 1,
        }
        if sample.answer != Answer::Stream {
            self.example.get_or_insert_with(|| sample.answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PUT_OFF: Answer = Answer::Status(503, Some(3));

    /// Down at second 10, open at 11, up at 20, closed at 25.
    fn books(samples: &[(Kind, u64, Answer)]) -> Books {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let samples: Vec<_> = samples
            .iter()
            .map(|(kind, second, answer)| Sample {
                kind: *kind,
                due: at(*second),
                took: Duration::from_millis(2),
                answer: answer.clone(),
            })
            .collect();
        Books::of(&samples, &Times { down: at(10), open: at(11), up: at(20), closed: at(25) })
    }

    #[test]
    fn an_outage_as_it_should_be_has_no_faults() {
        let books = books(&[
            (Kind::Known, 5, Answer::Stream),
            (Kind::Known, 15, Answer::Stream),
            (Kind::New, 5, Answer::Stream),
            (Kind::New, 10, PUT_OFF),
            (Kind::New, 15, PUT_OFF),
            (Kind::New, 22, PUT_OFF),
            (Kind::New, 22, Answer::Stream),
            (Kind::New, 25, Answer::Stream),
        ]);
        assert_eq!(books.faults(), Vec::<String>::new());
        assert_eq!((books.known_down.accepted, books.new_open.put_off, books.new_up.accepted), (1, 1, 2));
    }

    #[test]
    fn each_failure_is_a_fault() {
        for (kind, second, answer) in [
            (Kind::Known, 15, PUT_OFF),
            (Kind::Known, 5, Answer::Status(401, None)),
            (Kind::New, 15, Answer::Stream),
            (Kind::New, 15, Answer::Status(503, None)),
            (Kind::New, 15, Answer::Status(503, Some(0))),
            (Kind::New, 10, Answer::Broken("reset".into())),
            (Kind::New, 22, Answer::Status(500, Some(1))),
            (Kind::New, 26, PUT_OFF),
        ] {
            let faults = books(&[(kind, second, answer.clone())]).faults();
            assert_eq!(faults.len(), 1, "{kind:?} at {second}: {answer:?}");
        }
    }
}
