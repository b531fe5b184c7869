//! How many pods there are to be next.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};

/// The number to set now, on the way to the one that is wanted. More come at once; they go one at a time, and the next only when the one
/// before has drained and gone, so that nobody is sent from one that goes to another that goes, and no history loses all its keepers.
pub fn next(wanted: i32, set: Option<&StatefulSet>, pods: &[Pod]) -> i32 {
    let current = set.and_then(|set| set.spec.as_ref()?.replicas);
    match (set, current) {
        (Some(set), Some(current)) if wanted < current => {
            if is_settled(set, current, pods) {
                current - 1
            } else {
                current
            }
        }
        _ => wanted,
    }
}

/// Whether there are no more pods than there are to be.
fn is_settled(set: &StatefulSet, current: i32, pods: &[Pod]) -> bool {
    let observed = set.status.as_ref().and_then(|status| status.observed_generation);
    let is_leaving = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
    observed >= set.metadata.generation
        && !pods.iter().any(is_leaving)
        && i32::try_from(pods.len()).is_ok_and(|pods| pods <= current)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(replicas: i32, generation: i64, observed: i64) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": { "generation": generation },
            "spec": { "replicas": replicas, "selector": {}, "template": {}, "serviceName": "a" },
            "status": { "replicas": replicas, "observedGeneration": observed },
        }))
        .unwrap()
    }

    fn pods(count: usize, leaving: usize) -> Vec<Pod> {
        let pod = |index: usize| {
            let end = (index < leaving).then_some("2026-01-01T00:00:00Z");
            serde_json::from_value(json!({ "metadata": { "name": "a", "deletionTimestamp": end } })).unwrap()
        };
        (0..count).map(pod).collect()
    }

    #[test]
    fn more_come_at_once_and_they_go_one_by_one() {
        assert_eq!(next(3, None, &[]), 3);
        assert_eq!(next(10, Some(&set(3, 1, 1)), &pods(3, 0)), 10);
        assert_eq!(next(2, Some(&set(5, 1, 1)), &pods(5, 0)), 4);
        assert_eq!(next(2, Some(&set(4, 2, 2)), &pods(5, 1)), 4, "the one before is still there");
        assert_eq!(next(2, Some(&set(4, 2, 1)), &pods(4, 0)), 4, "nobody has looked yet");
        assert_eq!(next(2, Some(&set(4, 2, 2)), &pods(4, 0)), 3);
        assert_eq!(next(0, Some(&set(1, 2, 2)), &pods(1, 0)), 0);
    }
}
