//! When objects of common kinds are as they should be; each says what is missing.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// Every replica that the `StatefulSet` should have is ready and of its newest revision.
pub fn stateful_set(set: &StatefulSet) -> Result<(), String> {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = set.status.as_ref().ok_or("its controller has not looked at it yet")?;
    if status.observed_generation < set.metadata.generation {
        return Err("its controller has not looked at its newest form yet".to_owned());
    }
    let (ready, updated) = (status.ready_replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
    if ready == wanted && updated == wanted && status.replicas == wanted {
        return Ok(());
    }
    Err(format!(
        "of {wanted} replicas {ready} are ready, {updated} of the newest revision, {} there",
        status.replicas
    ))
}

/// The pod is ready and not about to be removed.
pub fn pod(pod: &Pod) -> Result<(), String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Err("it is being removed".to_owned());
    }
    let status = pod.status.clone().unwrap_or_default();
    let condition =
        status.conditions.unwrap_or_default().into_iter().find(|condition| condition.type_ == "Ready");
    if condition.is_some_and(|condition| condition.status == "True") {
        return Ok(());
    }
    let containers: Vec<String> =
        status.container_statuses.unwrap_or_default().iter().map(container).collect();
    Err(format!("its phase is {}, {}", status.phase.unwrap_or_default(), containers.join(", ")))
}

fn container(status: &ContainerStatus) -> String {
    let state = status.state.clone().unwrap_or_default();
    let reason = if let Some(waiting) = state.waiting {
        format!("waits: {} {}", waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())
    } else if let Some(ended) = state.terminated {
        format!("ended with {}: {}", ended.exit_code, ended.message.unwrap_or_default())
    } else if status.ready {
        "is ready".to_owned()
    } else {
        "runs but is not ready".to_owned()
    };
    format!("container {} {reason}", status.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stateful_set_is_ready_when_its_status_is_of_its_newest_form() {
        let set = |generation: i64, observed: i64, ready: i32| -> StatefulSet {
            serde_json::from_value(json!({
                "metadata": { "generation": generation },
                "spec": { "replicas": 3, "selector": {}, "template": {} },
                "status": {
                    "observedGeneration": observed, "replicas": 3, "readyReplicas": ready, "updatedReplicas": 3,
                },
            }))
            .unwrap()
        };
        assert_eq!(stateful_set(&set(2, 2, 3)), Ok(()));
        assert!(stateful_set(&set(2, 1, 3)).unwrap_err().contains("newest form"));
        assert!(stateful_set(&set(2, 2, 1)).unwrap_err().starts_with("of 3 replicas 1 are ready"));
    }

    #[test]
    fn a_pod_that_waits_says_why() {
        let waiting: Pod = serde_json::from_value(json!({
            "status": {
                "phase": "Pending",
                "containerStatuses": [{
                    "name": "proxy", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "waiting": { "reason": "ErrImageNeverPull", "message": "no such image" } },
                }],
            },
        }))
        .unwrap();
        let complaint = pod(&waiting).unwrap_err();
        assert_eq!(complaint, "its phase is Pending, container proxy waits: ErrImageNeverPull no such image");
    }
}
