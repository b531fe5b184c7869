use serde_json::{Value, json};

use super::*;
use crate::pods::{Reading, Readings};

fn set(replicas: i32, there: i32, ready: i32, updated: i32) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": { "generation": 2 },
        "spec": { "replicas": replicas, "selector": {}, "template": {}, "serviceName": "a" },
        "status": {
            "replicas": there, "readyReplicas": ready, "updatedReplicas": updated, "observedGeneration": 2,
            "currentRevision": "demo-1", "updateRevision": "demo-2",
        },
    }))
    .unwrap()
}

fn readings(peers: &[i64]) -> Readings {
    peers
        .iter()
        .map(|peers| Reading { connections: 7, peers: *peers, version: "1".to_owned(), is_ready: true })
        .collect()
}

fn facts<'a>(set: Option<&'a StatefulSet>, readings: &'a Readings, verdict: &'a Verdict) -> Facts<'a> {
    Facts {
        name: "demo",
        generation: Some(4),
        verdict,
        wanted: 3,
        partition: 0,
        set,
        pods: &[],
        readings,
        image: Some("a:1"),
        scaling: None,
    }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00.7Z".parse().unwrap()
}

/// Status and reason of each condition.
fn conditions(facts: &Facts<'_>) -> Value {
    let status = status(facts, &RevenProxClusterStatus::default(), now());
    status
        .conditions
        .iter()
        .map(|condition| (condition.type_.clone(), format!("{} {}", condition.status, condition.reason)))
        .collect()
}

#[test]
fn conditions_say_how_far_a_cluster_is() {
    let (silent, applied) = (Readings::default(), Verdict::Applied);
    let at = |set: Option<&StatefulSet>, readings: &Readings| {
        conditions(&facts(set, readings, &applied))["Ready"].clone()
    };
    assert_eq!(at(None, &silent), "False Starting");
    assert_eq!(at(Some(&set(3, 3, 1, 3)), &silent), "False Starting");
    assert_eq!(at(Some(&set(3, 3, 3, 1)), &silent), "False RollingOut");
    assert_eq!(at(Some(&set(5, 5, 5, 5)), &silent), "False ScalingDown");
    assert_eq!(at(Some(&set(3, 3, 3, 3)), &readings(&[2, 1, 2])), "False MeshForming");
    assert_eq!(at(Some(&set(3, 3, 3, 3)), &readings(&[2, 2, 2])), "True Serving");
    assert_eq!(
        at(Some(&set(3, 3, 3, 3)), &silent),
        "True Serving",
        "who says nothing is not known to be alone"
    );
}

#[test]
fn what_hinders_is_in_three_conditions() {
    let verdict = Verdict::Hindered("Invalid", "spec.config.http: nonsense".to_owned());
    let expected = json!({ "Ready": "False Invalid", "Progressing": "False Invalid", "Degraded": "True Invalid", "Paused": "False NotAsked" });
    assert_eq!(conditions(&facts(Some(&set(3, 3, 3, 3)), &Readings::default(), &verdict)), expected);
    let paused = conditions(&facts(Some(&set(3, 3, 3, 3)), &Readings::default(), &Verdict::Paused));
    assert_eq!(
        paused,
        json!({ "Ready": "True Serving", "Progressing": "False Paused", "Degraded": "False AsExpected", "Paused": "True Asked" })
    );
}

#[test]
fn a_condition_keeps_its_time_until_it_changes_and_the_same_facts_give_the_same_status() {
    let (readings, applied) = (readings(&[2, 2, 2]), Verdict::Applied);
    let (good, bad) = (set(3, 3, 3, 3), set(3, 3, 2, 3));
    let first = status(&facts(Some(&good), &readings, &applied), &RevenProxClusterStatus::default(), now());
    let later: Timestamp = "2026-01-01T00:05:00Z".parse().unwrap();
    assert_eq!(status(&facts(Some(&good), &readings, &applied), &first, later), first);
    let changed = status(&facts(Some(&bad), &readings, &applied), &first, later);
    let time = |status: &RevenProxClusterStatus, kind: &str| {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind)
            .unwrap()
            .last_transition_time
            .0
            .to_string()
    };
    assert_eq!(
        (time(&first, "Ready").as_str(), time(&changed, "Ready").as_str()),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z")
    );
    assert_eq!(time(&changed, "Degraded"), time(&first, "Degraded"));
}

#[test]
fn counts_are_not_the_substance() {
    let applied = Verdict::Applied;
    let good = set(3, 3, 3, 3);
    let (few, many) = (readings(&[2, 2, 2]), readings(&[2, 2, 2, 2]));
    let before = status(&facts(Some(&good), &few, &applied), &RevenProxClusterStatus::default(), now());
    let after = status(&facts(Some(&good), &many, &applied), &before, now());
    assert_eq!((before.connections, after.connections), (Some(21), Some(28)));
    assert!(!differs_in_substance(&before, &after));
    assert!(differs_in_substance(&before, &RevenProxClusterStatus { replicas: 9, ..before.clone() }));
}

#[test]
fn what_the_stateful_set_counts_is_shown() {
    let (silent, applied) = (Readings::default(), Verdict::Applied);
    let set = set(3, 3, 2, 1);
    let shown = status(&facts(Some(&set), &silent, &applied), &RevenProxClusterStatus::default(), now());
    assert_eq!((shown.replicas, shown.ready_replicas, shown.updated_replicas), (3, 2, 1));
    assert_eq!(shown.current_revision.as_deref(), Some("demo-1"));
    assert_eq!(shown.update_revision.as_deref(), Some("demo-2"));
    assert_eq!((shown.image.as_deref(), shown.service_name.as_deref()), (Some("a:1"), Some("demo")));
    assert_eq!(shown.observed_generation, Some(4));
}

#[test]
fn long_messages_are_cut() {
    let message = cut("ä".repeat(MESSAGE_BYTES_MAX));
    assert!(message.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8() && message.ends_with('…'));
}
