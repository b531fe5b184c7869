//! What people are told about a cluster: its status, and Events where something changed.

use std::time::Duration;

use jiff::Timestamp;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    core::error_boundary::InvalidObject,
    runtime::events::{Event, EventType},
};
use serde_json::json;
use tokio::time::Instant;

use super::Seen;
use crate::{
    controller::{Context, ReconcileError},
    crd::{AutoscalingStatus, RevenProxCluster, RevenProxClusterStatus},
    names::MANAGER,
    pods::Readings,
    status::{self, Facts, Verdict},
    validate::Cluster,
};

/// How often counts are written that change all the time.
const COUNTS_EVERY: Duration = Duration::from_secs(10);

/// Longest text of an Event, in bytes.
const NOTE_BYTES_MAX: usize = 1000;

/// Writes the status if there is something new in it. Returns whether it says that all is well.
pub(super) async fn status(
    context: &Context,
    resource: &RevenProxCluster,
    cluster: Option<&Cluster>,
    seen: &Seen,
    readings: &Readings,
    verdict: &Verdict,
    scaling: Option<AutoscalingStatus>,
) -> Result<bool, ReconcileError> {
    let (name, uid) = (resource.name_any(), resource.uid().unwrap_or_default());
    let shown = resource.status.clone().unwrap_or_default();
    // What is shown may be older than what was written last.
    let written = context.memo(&uid, |memo| memo.status.clone());
    let (before, pause) = match written {
        Some((status, at)) => (status, at.elapsed()),
        None => (shown.clone(), Duration::MAX),
    };
    let facts = Facts {
        name: &name,
        generation: resource.metadata.generation,
        verdict,
        wanted: cluster.map_or(resource.spec.replicas, Cluster::wanted_replicas),
        partition: resource.spec.rollout.partition,
        set: seen.set.as_ref(),
        pods: &seen.pods,
        readings,
        image: cluster.map(|cluster| cluster.image.as_str()),
        scaling,
    };
    let status = status::status(&facts, &before, Timestamp::now());
    let is_news = status::differs_in_substance(&status, &before);
    if is_news || (pause >= COUNTS_EVERY && (status != before || status != shown)) {
        write(context, resource, &status).await?;
        context.memo(&uid, |memo| memo.status = Some((status.clone(), Instant::now())));
        tell(context, resource, &before, &status).await;
    }
    Ok(status::is_ready(&status))
}

async fn write(
    context: &Context,
    resource: &RevenProxCluster,
    status: &RevenProxClusterStatus,
) -> Result<(), ReconcileError> {
    let namespace = resource.namespace().unwrap_or_default();
    let clusters: Api<RevenProxCluster> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({
        "apiVersion": RevenProxCluster::api_version(&()),
        "kind": RevenProxCluster::kind(&()),
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    match clusters.patch_status(&resource.name_any(), &params, &Patch::Apply(patch)).await {
        Ok(_) => {
            context.metrics.wrote("status");
            Ok(())
        }
        // It has gone meanwhile; nobody reads its status any more.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(ReconcileError::api("write the status")(error)),
    }
}

/// Makes an Event of a condition that is another than before.
async fn tell(
    context: &Context,
    resource: &RevenProxCluster,
    before: &RevenProxClusterStatus,
    after: &RevenProxClusterStatus,
) {
    let find = |status: &RevenProxClusterStatus, kind: &str| {
        status.conditions.iter().find(|condition| condition.type_ == kind).cloned()
    };
    for kind in ["Ready", "Degraded", "Paused"] {
        let Some(now) = find(after, kind) else { continue };
        let same = |then: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            then.status == now.status && then.reason == now.reason
        };
        let is_quiet = kind != "Ready" && now.status == "False";
        // What hinders is told once, as a warning.
        let is_told_elsewhere =
            kind == "Ready" && find(after, "Degraded").is_some_and(|other| other.reason == now.reason);
        if find(before, kind).is_some_and(|then| same(&then)) || is_quiet || is_told_elsewhere {
            continue;
        }
        let severity = if kind == "Degraded" { EventType::Warning } else { EventType::Normal };
        event(context, resource, severity, &now.reason, "Reconcile", now.message.clone()).await;
    }
}

/// Makes an Event.
pub(super) async fn event(
    context: &Context,
    resource: &RevenProxCluster,
    type_: EventType,
    reason: &str,
    action: &str,
    mut note: String,
) {
    if note.len() > NOTE_BYTES_MAX {
        let end = (0..=NOTE_BYTES_MAX).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
        note.truncate(end);
    }
    tracing::info!(reason, note, "event");
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    };
    let recorder = context.recorder(&resource.uid().unwrap_or_default(), &event);
    match recorder.publish(&event, &resource.object_ref(&())).await {
        Ok(()) => context.metrics.wrote("event"),
        Err(error) => tracing::warn!(%error, reason, "cannot make an event"),
    }
}

/// Says of a resource that it cannot be read as one, which the schema allows nobody to write.
pub(super) async fn unreadable(context: &Context, invalid: &InvalidObject) -> Result<(), ReconcileError> {
    let mut resource = RevenProxCluster::new("", crate::crd::RevenProxClusterSpec::default());
    resource.metadata = invalid.metadata.clone();
    let verdict = Verdict::Hindered("Unreadable", invalid.error.clone());
    let seen = Seen { set: None, pods: Vec::new() };
    status(context, &resource, None, &seen, &Readings::default(), &verdict, None).await.map(drop)
}
