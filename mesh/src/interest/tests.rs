use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::identity::TopicId;

/// One step of a run in which one instance changes and another follows.
#[derive(Clone, Debug)]
enum Step {
    Insert(u16),
    Remove(prop::sample::Index),
    /// Changes are announced; the announcement arrives or is lost.
    Announce(bool),
    /// The two compare and fetch, with so many changes announced between question and answer.
    Compare(Vec<u16>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<u16>().prop_map(Step::Insert),
        4 => any::<prop::sample::Index>().prop_map(Step::Remove),
        4 => prop::bool::weighted(0.8).prop_map(Step::Announce),
        1 => prop::collection::vec(any::<u16>(), 0..30).prop_map(Step::Compare),
    ]
}

struct Pair {
    own: Own,
    theirs: Theirs,
    topics: BTreeSet<u16>,
    /// Topics of the newest version that was announced.
    announced: BTreeSet<u16>,
}

fn topic(n: u16) -> TopicId {
    TopicId(u128::from(n) << 77 | u128::from(n))
}

impl Pair {
    fn new() -> Self {
        let (own, theirs) = (Own::new(100_000, 0.01), Theirs::unknown());
        Self { own, theirs, topics: BTreeSet::new(), announced: BTreeSet::new() }
    }

    fn insert(&mut self, n: u16) {
        if self.topics.insert(n) {
            let told = !self.own.insert(topic(n));
            // Nobody has to be told only of what is known to those who know the newest version.
            assert!(
                !told
                    || self.theirs.version() != Some(self.own.version())
                    || self.theirs.may_contain(topic(n))
            );
        }
    }

    fn remove(&mut self, which: prop::sample::Index) {
        if !self.topics.is_empty() {
            let n = *self.topics.iter().nth(which.index(self.topics.len())).unwrap();
            self.topics.remove(&n);
            self.own.remove(topic(n));
        }
    }

    fn toggle(&mut self, n: u16) {
        if self.topics.remove(&n) {
            self.own.remove(topic(n));
        } else {
            self.insert(n);
        }
    }

    fn announce(&mut self, arrives: bool) {
        let wanted = self.own.pending_version();
        while let Some(delta) = self.own.take_delta() {
            if arrives {
                self.theirs.apply_delta(&delta).unwrap();
            }
        }
        assert_eq!(self.own.version(), wanted);
        self.announced = self.topics.clone();
    }

    fn compare(&mut self, meanwhile: &[u16]) {
        self.announce(true);
        let mut question = self.theirs.compare(&Summary::decode(&self.own.summary().encode()).unwrap());
        let mut meanwhile = meanwhile.iter();
        while let Some(asked) = question {
            if let Some(n) = meanwhile.next() {
                self.toggle(*n);
            }
            let answer = self.own.answer(&asked, 2_000).unwrap();
            if let Some(n) = meanwhile.next() {
                self.toggle(*n);
                self.announce(true);
            }
            question = self.theirs.absorb(&answer).unwrap();
        }
    }

    /// Whoever knows a version misses none of its topics.
    fn check(&self) {
        if self.theirs.version() == Some(self.own.version()) {
            for n in self.announced.intersection(&self.topics) {
                assert!(self.theirs.may_contain(topic(*n)), "{n} is missing");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_other_one_follows_and_never_misses_a_topic(steps in prop::collection::vec(step(), 0..400)) {
        let mut pair = Pair::new();
        for step in &steps {
            match step {
                Step::Insert(n) => pair.insert(*n),
                Step::Remove(which) => pair.remove(*which),
                Step::Announce(arrives) => pair.announce(*arrives),
                Step::Compare(meanwhile) => pair.compare(meanwhile),
            }
            pair.check();
        }
        // Once nothing changes any more, two comparisons are enough whatever happened before.
        pair.compare(&[]);
        pair.compare(&[]);
        prop_assert_eq!(pair.theirs.version(), Some(pair.own.version()));
        prop_assert_eq!(pair.theirs.filter().unwrap().tree().root(), pair.own.filter().tree().root());
        prop_assert!(pair.topics.iter().all(|n| pair.theirs.may_contain(topic(*n))));
        prop_assert_eq!(pair.own.topics(), pair.topics.len());
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut pair = Pair::new();
        (0..500).for_each(|n| pair.insert(n));
        pair.compare(&[]);
        let small: Vec<u8> = bytes.iter().map(|b| b % 12).collect();
        for bytes in [bytes, small] {
            let _ = pair.theirs.apply_delta(&bytes);
            let _ = pair.own.answer(&bytes, 1000);
            let _ = pair.theirs.compare(&Summary { version: 9, ..pair.own.summary() });
            let _ = pair.theirs.absorb(&bytes);
            let mut answer = pair.own.summary().encode();
            answer.extend_from_slice(&bytes);
            let _ = pair.theirs.absorb(&answer);
            prop_assert!(pair.theirs.bytes() < 1 << 20);
        }
    }
}

#[test]
fn filters_grow_and_shrink_with_their_topics() {
    let mut own = Own::new(100_000, 0.01);
    let small = own.summary().class;
    (0..20_000).for_each(|n| {
        own.insert(topic(n));
    });
    let large = own.summary().class;
    assert!(large > small + 5, "{small} {large}");
    (10..20_000).for_each(|n| own.remove(topic(n)));
    assert_eq!(own.summary().class, small);
    assert_eq!(own.topics(), 10);
    own.remove(topic(30_000));
    assert_eq!(own.topics(), 10, "what is not in is not taken out");
}

#[test]
fn beyond_its_capacity_a_filter_stays_and_still_has_everything() {
    let mut own = Own::new(1_000, 0.01);
    (0..20_000).for_each(|n| {
        own.insert(topic(n));
    });
    assert!(own.filter().bytes() <= 1 << 12);
    assert!((0..20_000).all(|n| own.filter().may_contain(topic(n))));
}

#[test]
fn nobody_has_to_be_told_what_the_filter_says_already() {
    let mut own = Own::new(1_000, 0.01);
    assert!(own.insert(topic(1)));
    assert!(own.insert(topic(2)));
    own.take_delta();
    own.remove(topic(1));
    assert_eq!(own.pending_version(), own.version() + 1);
    assert!(!own.insert(topic(1)), "its removal was not announced");
    assert!(own.take_delta().is_some(), "an empty change is still a version");
}

#[test]
fn what_changes_between_a_resizing_and_its_announcement_is_known_too() {
    let mut pair = Pair::new();
    (0..1_000).for_each(|n| pair.insert(n));
    pair.compare(&[]);
    assert_eq!(pair.theirs.version(), Some(pair.own.version()));
    assert_eq!(pair.theirs.filter().unwrap().tree().root(), pair.own.filter().tree().root());
    assert_eq!(pair.theirs.compare(&pair.own.summary()), None);
}

#[test]
fn a_topic_is_in_the_version_that_was_named_whatever_comes_after_it() {
    let mut own = Own::new(1_000_000, 0.01);
    (0..60_000).for_each(|n| {
        own.insert(topic(n));
    });
    while own.take_delta().is_some() {}
    let mut theirs = Theirs::unknown();
    let mut question = theirs.compare(&own.summary());
    while let Some(asked) = question {
        question = theirs.absorb(&own.answer(&asked, 1 << 18).unwrap()).unwrap();
    }
    // Fits into one change, but blocks before and after it change as well, in more than one.
    let first = (60_000..61_000).map(topic).find(|t| !own.filter().may_contain(*t)).unwrap();
    assert!(own.insert(first));
    let named = own.pending_version();
    (61_000..65_000).for_each(|n| {
        own.insert(topic(n));
    });
    assert!(own.pending_version() > named && own.is_urgent());
    while own.version() < named {
        theirs.apply_delta(&own.take_delta().unwrap()).unwrap();
    }
    assert_eq!(theirs.version(), Some(named));
    assert!(theirs.may_contain(first));
}

#[test]
fn a_topic_that_comes_back_before_it_was_said_to_be_gone_is_not_missed() {
    let mut pair = Pair::new();
    (0..100).for_each(|n| pair.insert(n));
    pair.announce(false);
    let question = pair.theirs.compare(&pair.own.summary()).unwrap();
    pair.own.remove(topic(7));
    let question = pair.theirs.absorb(&pair.own.answer(&question, 100_000).unwrap()).unwrap();
    assert_eq!((question, pair.theirs.version()), (None, Some(pair.own.version())));
    assert!(!pair.own.insert(topic(7)), "nobody has to be told");
    assert!(pair.theirs.may_contain(topic(7)));
}
