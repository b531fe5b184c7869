//! What was published and what each subscriber got of it, compared.

use super::super::ClusterArgs;
use crate::stats::Histogram;
use crate::table::{number, thousands};

/// An event that came so shortly before a stream's end may have been on its way when the stream ended, in microseconds.
const ON_ITS_WAY: u64 = 250_000;

/// An instance that ends within this time is about to, in microseconds.
const ABOUT_TO_END: u64 = 500_000;

/// One event of a publisher; its number is its place among the publisher's events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    pub(super) topic: usize,
    /// The instance that accepted it, or would have been tried next.
    pub(super) at: usize,
    /// Monotonic microseconds of the first attempt.
    pub(super) sent: u64,
    /// Monotonic microseconds at which it was accepted; `None` where all attempts failed.
    pub(super) accepted: Option<u64>,
}

/// What became of a publisher's attempts.
#[derive(Clone, Debug, Default)]
pub(super) struct Publishing {
    pub(super) events: Vec<Published>,
    /// No connection to an instance.
    pub(super) unreachable: u64,
    /// A connection ended before the answer: the event may have been accepted.
    pub(super) unanswered: u64,
    /// Answered by something else than 2xx.
    pub(super) refused: u64,
}

/// What one subscriber got.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) topic: usize,
    /// A bit for each event number, for each publisher.
    seen: Vec<Vec<u64>>,
    pub(super) delivered: u64,
    pub(super) repeated: u64,
    /// Times without a stream, monotonic microseconds; the last may not have ended.
    pub(super) away: Vec<(u64, u64)>,
    /// Streams that ended with the request to come back.
    pub(super) asked: u64,
    /// Streams that ended without.
    pub(super) cut: u64,
    /// Attempts to connect that failed.
    pub(super) failed: u64,
    /// Times it was told that events may be missing.
    pub(super) gaps: u64,
    /// From scheduled publish to receipt.
    pub(super) latency: Histogram,
}

/// An instance's process had ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) instance: usize,
    /// Monotonic microseconds.
    pub(super) at: u64,
}

/// All of it together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Missed {
    /// Deliveries there should have been.
    pub(super) owed: u64,
    /// Accepted while the subscriber had no stream, or just before.
    pub(super) away: u64,
    /// Accepted while it had one.
    pub(super) connected: u64,
    /// Those of them that an instance accepted which was about to end.
    pub(super) at_the_end: u64,
    /// Subscribers that missed something.
    pub(super) subscribers: u64,
    /// Those of them that were never told of a gap.
    pub(super) untold: u64,
    /// Events nobody accepted that came all the same.
    pub(super) stray: u64,
}

// === impl Account ===

impl Account {
    /// The account of a subscriber of `topic`.
    pub(super) fn new(topic: usize) -> Self {
        Self { topic, ..Self::default() }
    }

    /// Books one delivery.
    pub(super) fn take(&mut self, publisher: usize, sequence: u32) {
        if self.seen.len() <= publisher {
            self.seen.resize(publisher + 1, Vec::new());
        }
        let (word, bit) = (sequence as usize / 64, 1 << (sequence % 64));
        let words = &mut self.seen[publisher];
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        self.delivered += 1;
        self.repeated += u64::from(words[word] & bit != 0);
        words[word] |= bit;
    }

    fn has(&self, publisher: usize, sequence: usize) -> bool {
        let words = self.seen.get(publisher).and_then(|words| words.get(sequence / 64));
        words.is_some_and(|word| word & (1 << (sequence % 64)) != 0)
    }

    fn was_away(&self, event: &Published, accepted: u64) -> bool {
        self.away.iter().any(|(from, to)| event.sent < *to && accepted + ON_ITS_WAY > *from)
    }
}

/// Compares every subscriber's account with what was accepted.
pub(super) fn settle(accounts: &[Account], publishers: &[Publishing], ends: &[End]) -> Missed {
    let mut missed = Missed::default();
    for account in accounts {
        let before = missed.away + missed.connected;
        for (publisher, publishing) in publishers.iter().enumerate() {
            let mine = publishing.events.iter().enumerate().filter(|(_, e)| e.topic == account.topic);
            for (sequence, event) in mine {
                match (event.accepted, account.has(publisher, sequence)) {
                    (None, came) => missed.stray += u64::from(came),
                    (Some(_), true) => missed.owed += 1,
                    (Some(at), false) => {
                        missed.owed += 1;
                        let away = account.was_away(event, at);
                        *(if away { &mut missed.away } else { &mut missed.connected }) += 1;
                        let last = |e: &End| e.instance == event.at && at <= e.at && e.at - at < ABOUT_TO_END;
                        missed.at_the_end += u64::from(!away && ends.iter().any(last));
                    }
                }
            }
        }
        let any = missed.away + missed.connected > before;
        missed.subscribers += u64::from(any);
        missed.untold += u64::from(any && account.gaps == 0);
    }
    missed
}

/// The table's lines.
pub(super) fn rows(
    args: &ClusterArgs,
    accounts: &[Account],
    publishers: &[Publishing],
    ends: &[End],
) -> Vec<Vec<String>> {
    let missed = settle(accounts, publishers, ends);
    let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>() as f64;
    let attempts = |of: fn(&Publishing) -> u64| publishers.iter().map(of).sum::<u64>();
    let (mut latency, mut away) = (Histogram::default(), Histogram::default());
    for account in accounts {
        latency.merge(&account.latency);
        account.away.iter().for_each(|(from, to)| away.record(to.saturating_sub(*from)));
    }
    let events = publishers.iter().flat_map(|p| &p.events);
    let given_up = events.clone().filter(|e| e.accepted.is_none()).count();
    let mut rows = vec![vec!["quantity".into(), "value".into()]];
    let mut row = |what: &str, value: String| rows.push(vec![what.into(), value]);
    row("instances, each of them in turn", format!("{} ({:?})", args.instances(), args.faults));
    row("subscribers", thousands(accounts.len() as f64));
    row("topics", thousands(args.topics() as f64));
    row("events accepted", thousands((events.count() - given_up) as f64));
    row("attempts to publish that failed: no connection", attempts(|p| p.unreachable).to_string());
    row("  connection ended before the answer", attempts(|p| p.unanswered).to_string());
    row("  refused", attempts(|p| p.refused).to_string());
    row("events given up by their publisher", given_up.to_string());
    row("deliveries owed", thousands(missed.owed as f64));
    row("missed while without a stream", thousands(missed.away as f64));
    row("missed with a stream", thousands(missed.connected as f64));
    row("  accepted less than 500 ms before their instance ended", thousands(missed.at_the_end as f64));
    row("repeated", thousands(sum(|a| a.repeated)));
    row("delivered although no publisher was told so", thousands(missed.stray as f64));
    row("subscribers that missed something", thousands(missed.subscribers as f64));
    row("  and were not told of a gap", thousands(missed.untold as f64));
    row("streams that ended with a request to come back", thousands(sum(|a| a.asked)));
    row("streams that ended without", thousands(sum(|a| a.cut)));
    row("reconnects that failed", thousands(sum(|a| a.failed)));
    row("gaps told", thousands(sum(|a| a.gaps)));
    row("without a stream, p50 ms", number(away.percentile_ms(50.0)));
    row("without a stream, max ms", number(away.max_ms()));
    row("latency p50 ms", number(latency.percentile_ms(50.0)));
    row("latency p99 ms", number(latency.percentile_ms(99.0)));
    row("latency max ms", number(latency.max_ms()));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(topic: usize, sent: u64) -> Published {
        Published { topic, at: 1, sent, accepted: Some(sent + 1000) }
    }

    fn publishing(events: Vec<Published>) -> Vec<Publishing> {
        vec![Publishing { events, ..Publishing::default() }]
    }

    #[test]
    fn everything_got_once_is_nothing_missed() {
        let mut account = Account::new(1);
        (0..130).for_each(|n| account.take(0, n));
        let books = publishing((0..130).map(|n| published(1, n)).collect());
        assert_eq!(settle(&[account], &books, &[]), Missed { owed: 130, ..Missed::default() });
    }

    #[test]
    fn a_repetition_counts_whatever_came_between() {
        let mut account = Account::default();
        for n in [5, 3, 5, 64, 3] {
            account.take(0, n);
        }
        assert_eq!((account.delivered, account.repeated), (5, 2));
    }

    #[test]
    fn what_is_missed_is_told_by_when_it_was_accepted() {
        let away = vec![(10_000_000, 12_000_000)];
        let account = Account { away, ..Account::default() };
        let books = publishing(vec![
            published(0, 5_000_000),
            published(0, 9_900_000),
            published(0, 11_000_000),
            published(0, 12_500_000),
            published(7, 11_000_000),
        ]);
        let ends = [End { instance: 1, at: 5_200_000 }, End { instance: 2, at: 12_600_000 }];
        let missed = settle(&[account], &books, &ends);
        assert_eq!((missed.owed, missed.away, missed.connected, missed.at_the_end), (4, 2, 2, 1));
        assert_eq!((missed.subscribers, missed.untold), (1, 1));
    }

    #[test]
    fn an_event_that_was_given_up_is_not_owed_but_may_have_come() {
        let mut account = Account { gaps: 1, ..Account::default() };
        account.take(0, 0);
        let books = publishing(vec![Published { accepted: None, ..published(0, 1) }]);
        assert_eq!(settle(&[account], &books, &[]), Missed { stray: 1, ..Missed::default() });
    }
}
