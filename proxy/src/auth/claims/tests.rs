use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_000_000;

fn rules() -> Rules {
    Rules::new(&Auth { leeway_sec: 30, ..Auth::default() })
}

fn claims(changes: &Value) -> Claims {
    let mut all = json!({"sub": "u", "exp": NOW + 60});
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    serde_json::from_value(all).unwrap()
}

fn check(changes: &Value) -> Result<(), Failure> {
    claims(changes).check(&rules(), None, NOW)
}

fn permit(changes: &Value, action: Action, topic: &str) -> bool {
    claims(changes).permit(&rules(), action, &TopicName::new(topic).unwrap()).is_ok()
}

#[test]
fn subject_and_expiry_are_required() {
    assert_eq!(check(&json!({})), Ok(()));
    assert_eq!(check(&json!({"sub": null})), Err(Failure::Claim("sub")));
    assert_eq!(check(&json!({"sub": ""})), Err(Failure::Claim("sub")));
    assert_eq!(check(&json!({"exp": null})), Err(Failure::Claim("exp")));
    assert_eq!(check(&json!({"sub": "x".repeat(IDENTITY_BYTES_MAX + 1)})), Err(Failure::Claim("sub")));
    assert_eq!(check(&json!({"jti": "x".repeat(IDENTITY_BYTES_MAX + 1)})), Err(Failure::Claim("jti")));
}

#[test]
fn times_are_held_against_the_clock_with_leeway() {
    assert_eq!(check(&json!({"exp": NOW - 29})), Ok(()));
    assert_eq!(check(&json!({"exp": NOW - 30})), Err(Failure::Expired));
    assert_eq!(check(&json!({"exp": 0})), Err(Failure::Expired));
    assert_eq!(check(&json!({"exp": u64::MAX})), Ok(()));
    for claim in ["nbf", "iat"] {
        assert_eq!(check(&json!({claim: NOW + 30})), Ok(()), "{claim}");
        assert_eq!(check(&json!({claim: NOW + 31})), Err(Failure::NotYetValid), "{claim}");
        assert_eq!(check(&json!({claim: u64::MAX})), Err(Failure::NotYetValid), "{claim}");
    }
}

#[test]
fn a_grant_ends_at_exp_or_at_the_end_of_the_leeway_it_came_in_by() {
    let end = |exp: u64| claims(&json!({"exp": exp})).into_grant(&rules(), None, NOW).expires_at;
    assert_eq!(end(NOW + 60), Some(NOW + 60));
    assert_eq!(end(NOW + 1), Some(NOW + 1));
    assert_eq!(end(NOW - 10), Some(NOW + 20));
}

#[test]
fn dates_may_have_fractions_but_not_be_anything_else() {
    let date = |json: &str| serde_json::from_str::<NumericDate>(json).ok().map(|date| date.0);
    assert_eq!(date("1.9"), Some(1));
    assert_eq!(date("1e3"), Some(1000));
    for wrong in ["-1", "-0.5", "1e300", "\"1\"", "true", "[]"] {
        assert_eq!(date(wrong), None, "{wrong}");
    }
}

#[test]
fn issuer_and_audience_are_checked_where_configured() {
    let strict =
        Auth { issuers: vec!["a".into(), "b".into()], audiences: vec!["me".into()], ..Auth::default() };
    let rules = Rules::new(&strict);
    let check = |changes: Value, issuer: Option<&str>| claims(&changes).check(&rules, issuer, NOW);
    assert_eq!(check(json!({"iss": "b", "aud": "me"}), None), Ok(()));
    assert_eq!(check(json!({"iss": "b", "aud": ["you", "me"]}), Some("b")), Ok(()));
    assert_eq!(check(json!({"iss": "b", "aud": "me"}), Some("a")), Err(Failure::Issuer));
    assert_eq!(check(json!({"iss": "c", "aud": "me"}), None), Err(Failure::Issuer));
    assert_eq!(check(json!({"aud": "me"}), None), Err(Failure::Issuer));
    assert_eq!(check(json!({"iss": "a", "aud": ["you"]}), None), Err(Failure::Audience));
    assert_eq!(check(json!({"iss": "a"}), None), Err(Failure::Audience));
}

#[test]
fn our_claim_alone_decides_then_permissions_then_the_default() {
    let (sub, publish) = (Action::Subscribe, Action::Publish);
    let own = json!({"revenprox": {"subscribe": ["orders-*"]}, "permissions": ["topic:read", "topic:write"]});
    assert!(
        permit(&own, sub, "orders-1") && !permit(&own, sub, "users") && !permit(&own, publish, "orders-1")
    );
    let empty = json!({"revenprox": {}});
    assert!(!permit(&empty, sub, "a") && !permit(&empty, publish, "a"));
    let names = json!({"permissions": ["topic:write"]});
    assert!(!permit(&names, sub, "a") && permit(&names, publish, "a"));
    let none = json!({"permissions": []});
    assert!(!permit(&none, sub, "a") && !permit(&none, publish, "a"));
    let silent = json!({});
    assert!(permit(&silent, sub, "a") && !permit(&silent, publish, "a"));
}

#[test]
fn overlong_pattern_lists_are_refused() {
    let many = json!({"revenprox": {"subscribe": vec!["*"; 300]}});
    let failure = claims(&many).permit(&rules(), Action::Subscribe, &TopicName::new("a").unwrap());
    assert_eq!(failure, Err(Failure::Claim("revenprox")));
}

#[test]
fn claims_of_a_wrong_type_are_no_claims() {
    for wrong in [
        r#"{"sub":1}"#,
        r#"{"aud":{}}"#,
        r#"{"permissions":"topic:read"}"#,
        r#"{"revenprox":{"subscribe":[1]}}"#,
    ] {
        assert!(serde_json::from_str::<Claims>(wrong).is_err(), "{wrong}");
    }
    assert!(serde_json::from_str::<Claims>(r#"{"sub":"a","sub":"b"}"#).is_err(), "a claim twice");
}
