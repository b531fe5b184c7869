//! Rollouts that do not go on by themselves.
//!
//! A pod of an earlier form that never gets ready can keep a `StatefulSet` from replacing any pod at all, even when the form has been
//! corrected since. Removing that pod is what helps.

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};

/// The label with a pod's revision.
const REVISION: &str = "controller-revision-hash";

/// A pod that is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Its name.
    pub name: String,
    /// Which of that name.
    pub uid: String,
    /// The version of it that this was judged by.
    pub resource_version: String,
}

/// The pod that is in the way of the newest revision: of an earlier one, and not ready for longer than `limit_seconds`. The highest first,
/// as a `StatefulSet` does it.
pub fn stuck(
    set: &StatefulSet,
    pods: &[Pod],
    partition: i32,
    limit_seconds: i64,
    now: Timestamp,
) -> Option<Stuck> {
    let status = set.status.as_ref()?;
    if status.observed_generation < set.metadata.generation {
        return None;
    }
    let newest = status.update_revision.as_deref()?;
    let in_the_way = |pod: &&Pod| {
        let revision = pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION));
        pod.metadata.deletion_timestamp.is_none()
            && revision.is_some_and(|revision| revision != newest)
            && ordinal(pod) >= Some(partition)
            && not_ready_since(pod).is_some_and(|since| now.as_second() - since.as_second() > limit_seconds)
    };
    let pod = pods.iter().filter(in_the_way).max_by_key(|pod| ordinal(pod))?;
    Some(Stuck {
        name: pod.metadata.name.clone()?,
        uid: pod.metadata.uid.clone()?,
        resource_version: pod.metadata.resource_version.clone()?,
    })
}

/// Why a pod does not come up, if its container says so.
pub fn complaint(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let container = status.container_statuses.as_ref()?.iter().find(|container| !container.ready)?;
    let state = container.state.as_ref()?;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let waiting = state.waiting.as_ref()?;
    let reason = waiting
        .reason
        .as_deref()
        .filter(|reason| *reason != "ContainerCreating" && *reason != "PodInitializing")?;
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = last
        .map(|ended| format!("; it ended with exit code {}, see its log", ended.exit_code))
        .unwrap_or_default();
    Some(format!("pod {name}: {reason}: {}{ended}", waiting.message.as_deref().unwrap_or("no message")))
}

/// Whether a pod is ready.
pub fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && ready_condition(pod).is_some_and(|(ready, _)| ready)
}

fn ready_condition(pod: &Pod) -> Option<(bool, Option<Timestamp>)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((ready.status == "True", ready.last_transition_time.as_ref().map(|time| time.0)))
}

fn not_ready_since(pod: &Pod) -> Option<Timestamp> {
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    match ready_condition(pod) {
        Some((true, _)) => None,
        Some((false, since)) => since.or(created),
        None => created,
    }
}

fn ordinal(pod: &Pod) -> Option<i32> {
    pod.metadata.name.as_deref()?.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(newest: &str) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": { "generation": 2 },
            "spec": { "selector": {}, "template": {}, "serviceName": "a" },
            "status": { "replicas": 3, "observedGeneration": 2, "updateRevision": newest },
        }))
        .unwrap()
    }

    fn pod(ordinal: u32, revision: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("a-{ordinal}"), "uid": "u", "resourceVersion": "7",
                "labels": { REVISION: revision }, "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "status": {
                "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:10Z" }],
            },
        }))
        .unwrap()
    }

    fn name(stuck: Option<Stuck>) -> String {
        stuck.map(|stuck| stuck.name).unwrap_or_default()
    }

    #[test]
    fn a_pod_of_an_earlier_form_that_is_not_ready_is_in_the_way() {
        let pods = [pod(0, "good", "True"), pod(1, "bad", "False"), pod(2, "bad", "False")];
        let late: Timestamp = "2026-01-01T00:02:00Z".parse().unwrap();
        assert_eq!(name(stuck(&set("new"), &pods, 0, 60, late)), "a-2");
        assert_eq!(name(stuck(&set("bad"), &pods, 0, 60, late)), "", "the newest one may take its time");
        let early: Timestamp = "2026-01-01T00:00:40Z".parse().unwrap();
        assert_eq!(name(stuck(&set("new"), &pods, 0, 60, early)), "");
        assert_eq!(
            name(stuck(&set("new"), &pods, 3, 60, late)),
            "",
            "only pods from the partition on are replaced"
        );
        assert_eq!(
            name(stuck(&set("new"), &pods[..1], 0, 60, late)),
            "",
            "a pod that serves is in nobody's way"
        );
    }

    #[test]
    fn a_container_says_why_it_does_not_start() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "a-0" },
            "status": { "containerStatuses": [{
                "name": "proxy", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
                "lastState": { "terminated": { "exitCode": 64 } },
            }]},
        }))
        .unwrap();
        let expected = "pod a-0: CrashLoopBackOff: back-off; it ended with exit code 64, see its log";
        assert_eq!(complaint(&pod).as_deref(), Some(expected));
    }
}
