//! What is written down about a failed test: every object in its namespace, the events, and the
//! logs of every container, also of those that were restarted.

use std::fmt::Write as _;
use std::fs;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::discovery::{Discovery, Scope, verbs};

use super::{Outcome, Sandbox};

/// Most bytes of each log.
const LOG_LIMIT: i64 = 4 * 1024 * 1024;

/// Writes it all to the sandbox's folder. Goes on after a failure and reports the first.
pub(super) async fn collect(sandbox: &Sandbox) -> Outcome {
    fs::create_dir_all(sandbox.folder())?;
    // Newest knowledge first: what explains most is written even if the rest takes too long.
    let (events, logs, objects) = (events(sandbox).await, logs(sandbox).await, objects(sandbox).await);
    events.and(logs).and(objects)
}

async fn events(sandbox: &Sandbox) -> Outcome {
    let mut events = sandbox.api::<Event>().list(&ListParams::default()).await?.items;
    let time = |event: &Event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        last.or(event.event_time.as_ref().map(|time| time.0)).or(event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0))
    };
    events.sort_by_key(time);
    let mut text = String::new();
    for event in &events {
        let when = time(event).map(|time| time.to_string()).unwrap_or_default();
        let object = &event.involved_object;
        let (kind, name) = (object.kind.as_deref().unwrap_or("?"), object.name.as_deref().unwrap_or("?"));
        let (reason, message) =
            (event.reason.as_deref().unwrap_or("?"), event.message.as_deref().unwrap_or(""));
        writeln!(text, "{when} {kind} {name} {reason} (×{}): {message}", event.count.unwrap_or(1))?;
    }
    Ok(fs::write(sandbox.folder().join("events.txt"), text)?)
}

async fn logs(sandbox: &Sandbox) -> Outcome {
    let pods = sandbox.api::<Pod>();
    for pod in pods.list(&ListParams::default()).await? {
        let name = pod.metadata.name.unwrap_or_default();
        for container in pod.spec.map(|spec| spec.containers).unwrap_or_default() {
            for (previous, suffix) in [(false, "log"), (true, "previous.log")] {
                let params = LogParams {
                    container: Some(container.name.clone()),
                    previous,
                    limit_bytes: Some(LOG_LIMIT),
                    ..LogParams::default()
                };
                // A container that never started or never was restarted has no such log.
                if let Ok(log) = pods.logs(&name, &params).await {
                    fs::write(sandbox.folder().join(format!("{name}.{}.{suffix}", container.name)), log)?;
                }
            }
        }
    }
    Ok(())
}

async fn objects(sandbox: &Sandbox) -> Outcome {
    let discovery = Discovery::new(sandbox.client()).run().await?;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            // Secrets are nobody's business, and events have a file of their own.
            let skipped = matches!(resource.kind.as_str(), "Secret" | "Event");
            let listed =
                capabilities.scope == Scope::Namespaced && capabilities.supports_operation(verbs::LIST);
            if skipped || !listed {
                continue;
            }
            let api: Api<DynamicObject> =
                Api::namespaced_with(sandbox.client(), sandbox.namespace(), &resource);
            // Some kinds, such as metrics, are listed by servers that are not there.
            let Ok(list) = api.list(&ListParams::default()).await else { continue };
            for mut object in list {
                object.metadata.managed_fields = None;
                let name = object.metadata.name.clone().unwrap_or_default();
                let file = format!("{}.{name}.yaml", resource.plural);
                fs::write(sandbox.folder().join(file), serde_yaml::to_string(&object)?)?;
            }
        }
    }
    Ok(())
}
