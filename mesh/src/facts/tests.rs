use proptest::prelude::*;

use super::*;

fn fact(n: u64, until_ms: u64) -> Fact {
    Fact::new(1, &format!("token-{n}"), until_ms).unwrap()
}

/// `ours` fetches from `theirs` what it lacks. Returns how many questions that took.
fn fetch(ours: &mut Facts, theirs: &mut Facts, now_ms: u64) -> usize {
    let mut questions = 0;
    let mut question = Some(ours.question(now_ms));
    while let Some(asked) = question {
        questions += 1;
        let answer = theirs.answer(&asked, 10_000, now_ms).unwrap();
        question = ours.absorb(&answer, now_ms).unwrap().1;
    }
    questions
}

proptest! {
    #[test]
    fn two_instances_become_equal(
        ours in prop::collection::vec((0_u64..300, 1_u64..50), 0..200),
        theirs in prop::collection::vec((0_u64..300, 1_u64..50), 0..200),
        now in 0_u64..30,
    ) {
        let (mut a, mut b) = (Facts::default(), Facts::default());
        for (facts, list) in [(&mut a, &ours), (&mut b, &theirs)] {
            for (n, until) in list {
                facts.insert(fact(*n, *until), 0);
            }
        }
        for _ in 0..4 {
            if a.root(now) != b.root(now) {
                fetch(&mut a, &mut b, now);
                fetch(&mut b, &mut a, now);
            }
        }
        prop_assert_eq!(a.root(now), b.root(now));
        let all: Vec<_> = a.iter(now).collect();
        prop_assert_eq!(&all, &b.iter(now).collect::<Vec<_>>());
        for (n, until) in ours.iter().chain(&theirs).filter(|(_, until)| *until > now) {
            prop_assert!(a.contains(&fact(*n, *until), now));
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut facts = Facts::default();
        let small: Vec<u8> = bytes.iter().map(|b| b % 9).collect();
        for bytes in [bytes, small] {
            let _ = facts.merge(&bytes, 0);
            let _ = facts.answer(&bytes, 100, 0);
            let _ = facts.absorb(&bytes, 0);
        }
        prop_assert!(facts.len() < 100);
    }
}

#[test]
fn a_bucket_that_does_not_fit_into_an_answer_comes_in_parts() {
    let text = |n: u64| format!("{n}-{}", "x".repeat(200));
    let in_bucket = |n: &u64| Fact::new(1, &text(*n), 1).unwrap().key.bucket() == 7;
    let (mut ours, mut theirs) = (Facts::default(), Facts::default());
    for n in (0..1_000_000).filter(in_bucket).take(150) {
        theirs.insert(Fact::new(1, &text(n), 50).unwrap(), 0);
    }
    theirs.insert(fact(1, 50), 0);
    assert_eq!(theirs.len(), 151);
    // Three parts of the bucket, two levels of the tree and what is in the other bucket.
    assert!(fetch(&mut ours, &mut theirs, 0) <= 7);
    assert_eq!(ours.root(0), theirs.root(0));
}

#[test]
fn facts_expire_and_are_not_taken_back() {
    let mut facts = Facts::default();
    assert!(facts.insert(fact(1, 5_000), 0));
    assert!(!facts.insert(fact(1, 4_000), 0), "known for longer");
    assert!(facts.insert(fact(1, 6_000), 0));
    assert!(facts.contains(&fact(1, 6_000), 5_999));
    let full = facts.root(5_999);
    assert_ne!(facts.root(7_000), full);
    assert_eq!((facts.len(), facts.root(7_000)), (0, Facts::default().root(0)));
    assert!(!facts.insert(fact(1, 6_000), 6_000));
}

#[test]
fn there_is_a_bound_and_nothing_is_dropped_for_it() {
    let mut facts = Facts::default();
    for n in 0..FACTS_MAX as u64 + 10 {
        facts.insert(fact(n, 10_000), 0);
    }
    assert_eq!((facts.len(), facts.refused()), (FACTS_MAX, 10));
    assert!(facts.contains(&fact(0, 10_000), 0));
    assert!(facts.insert(fact(1_000_000, 50_000), 20_000), "expired ones make room");
}
