use super::*;
use crate::topic::TopicName;

const LIMITS: Limits = Limits {
    granted_ttl: Duration::from_mins(5),
    granted_max: 3,
    refused_ttl: Duration::from_secs(5),
    refused_max: 3,
};

fn start() -> Now {
    Now { steady: Instant::now(), unix: 1000 }
}

fn after(now: Now, seconds: u64) -> Now {
    Now { steady: now.steady + Duration::from_secs(seconds), unix: now.unix + seconds }
}

fn key(token: &str) -> Key {
    Key::new(token, TopicId::of(&TopicName::new("t").unwrap()), Action::Subscribe)
}

fn grant(exp: Option<u64>) -> Grant {
    Grant { subject: Some("u".into()), expires_at: exp, ..Grant::default() }
}

#[test]
fn token_topic_and_action_all_count() {
    let (a, b) = (TopicName::new("a").unwrap(), TopicName::new("b").unwrap());
    let base = Key::new("x", TopicId::of(&a), Action::Subscribe);
    assert_eq!(base, Key::new("x", TopicId::of(&a), Action::Subscribe));
    assert_ne!(base, Key::new("y", TopicId::of(&a), Action::Subscribe));
    assert_ne!(base, Key::new("x", TopicId::of(&b), Action::Subscribe));
    assert_ne!(base, Key::new("x", TopicId::of(&a), Action::Publish));
}

#[test]
fn a_grant_lives_for_the_ttl_and_never_past_its_expiry() {
    let now = start();
    let mut cache = VerdictCache::new(LIMITS);
    cache.insert(key("a"), &Ok(grant(None)), now);
    cache.insert(key("b"), &Ok(grant(Some(1100))), now);
    cache.insert(key("c"), &Ok(grant(Some(1000))), now);
    assert_eq!(cache.len(), (2, 0), "what has expired is not remembered");
    assert_eq!(cache.get(&key("b"), after(now, 99)), Some(Ok(grant(Some(1100)))));
    assert_eq!(cache.get(&key("b"), after(now, 100)), None);
    assert_eq!(cache.get(&key("a"), after(now, 299)), Some(Ok(grant(None))));
    assert_eq!(cache.get(&key("a"), after(now, 300)), None);
    assert_eq!(cache.len(), (0, 0), "what is out of date is dropped when seen");
}

#[test]
fn the_calendar_going_forward_ends_a_grant() {
    let now = start();
    let mut cache = VerdictCache::new(LIMITS);
    cache.insert(key("a"), &Ok(grant(Some(1100))), now);
    assert_eq!(cache.get(&key("a"), Now { unix: 1100, ..now }), None);
}

#[test]
fn refusals_are_short_lived_and_trouble_is_not_remembered() {
    let now = start();
    let mut cache = VerdictCache::new(LIMITS);
    cache.insert(key("a"), &Err(Failure::Denied(None)), now);
    cache.insert(
        key("b"),
        &Err(Failure::Unavailable(super::super::failure::Cause::Webhook, Duration::ZERO)),
        now,
    );
    assert_eq!(cache.get(&key("a"), after(now, 4)), Some(Err(Failure::Denied(None))));
    assert_eq!(cache.get(&key("a"), after(now, 5)), None);
    assert_eq!(cache.get(&key("b"), now), None);
}

#[test]
fn a_flood_of_refusals_leaves_the_grants_alone() {
    let now = start();
    let mut cache = VerdictCache::new(LIMITS);
    cache.insert(key("good"), &Ok(grant(None)), now);
    for bad in 0..100 {
        cache.insert(key(&bad.to_string()), &Err(Failure::Denied(None)), now);
    }
    assert_eq!(cache.len(), (1, 3));
    assert!(cache.get(&key("good"), now).is_some());
}

#[test]
fn what_is_out_of_date_is_swept_by_later_verdicts() {
    let now = start();
    let mut cache = VerdictCache::new(Limits { granted_max: 100, ..LIMITS });
    for token in 0..10 {
        cache.insert(key(&token.to_string()), &Ok(grant(Some(1010))), now);
    }
    for token in 10..14 {
        cache.insert(key(&token.to_string()), &Ok(grant(None)), after(now, 20));
    }
    assert_eq!(cache.len(), (4, 0));
}

#[test]
fn new_limits_keep_what_they_allow() {
    let now = start();
    let mut cache = VerdictCache::new(LIMITS);
    for token in ["a", "b", "c"] {
        cache.insert(key(token), &Ok(grant(None)), now);
    }
    cache.reconfigure(Limits { granted_max: 2, granted_ttl: Duration::from_secs(10), ..LIMITS }, now.steady);
    assert_eq!(cache.len(), (2, 0));
    assert!(cache.get(&key("a"), now).is_none() && cache.get(&key("c"), after(now, 9)).is_some());
    assert!(cache.get(&key("c"), after(now, 10)).is_none());
}

#[test]
fn zero_turns_remembering_off() {
    let now = start();
    let mut cache =
        VerdictCache::new(Limits { granted_ttl: Duration::ZERO, refused_ttl: Duration::ZERO, ..LIMITS });
    cache.insert(key("a"), &Ok(grant(None)), now);
    cache.insert(key("b"), &Err(Failure::Expired), now);
    assert_eq!(cache.len(), (0, 0));
}

/// The figure in the reference of `cache_max_size`: the entry itself, its links, table and two short texts.
#[test]
fn an_entry_is_small() {
    let own = std::mem::size_of::<Key>() + std::mem::size_of::<Entry<Grant>>() + 8 + 6;
    assert!((100..=200).contains(&own), "{own} bytes");
}

#[test]
fn a_quarter_is_kept_while_memory_is_short() {
    let now = start();
    let limits = Limits { granted_max: 8, refused_max: 8, ..LIMITS };
    let mut cache = VerdictCache::new(limits);
    let fill = |cache: &mut VerdictCache| {
        for token in 0..8 {
            cache.insert(key(&format!("good {token}")), &Ok(grant(None)), now);
            cache.insert(key(&format!("bad {token}")), &Err(Failure::Denied(None)), now);
        }
    };
    fill(&mut cache);
    cache.shrink(true);
    assert_eq!(cache.len(), (2, 2));
    assert!(cache.get(&key("good 7"), now).is_some(), "the most recently used stay");
    fill(&mut cache);
    cache.reconfigure(limits, now.steady);
    assert_eq!(cache.len(), (2, 2), "other settings do not end the shortage");
    cache.shrink(false);
    fill(&mut cache);
    assert_eq!(cache.len(), (8, 8));
}
