//! One look at a cluster: what is asked for, what is there, and what has to be done about the difference.

mod report;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    runtime::{controller::Action, events::EventType},
};
use serde_json::json;

use crate::{
    apply::{ApplyError, Effect, is_absent},
    build::{self, Inputs},
    controller::{Context, ReconcileError},
    crd::{AutoscalingStatus, RevenProxCluster},
    decide::{replicas, rollout, scaling::Look},
    names::{self, CONTENT_CHECKSUM, MANAGER, MESH_KEY},
    pods::{self, Readings},
    secrets::{self, FilesError},
    status::Verdict,
    validate::{self, Cluster, FileKind, Problem},
    watched::Guarded,
};

/// How soon a cluster is looked at again while something is going on, and when all is well.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(10);

/// What is there of a cluster.
pub(crate) struct Seen {
    pub(crate) set: Option<StatefulSet>,
    pub(crate) pods: Vec<Pod>,
}

/// Looks at a cluster and does what is to be done. Returns a word for how it ended.
pub(crate) async fn reconcile(
    object: &Guarded,
    context: &Context,
) -> Result<(&'static str, Action), ReconcileError> {
    context.watched.filled().await.map_err(|_| ReconcileError::Ended)?;
    let resource = match &object.0 {
        Ok(resource) => resource,
        Err(invalid) => {
            report::unreadable(context, invalid).await?;
            return Ok(("hindered", Action::await_change()));
        }
    };
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    if resource.metadata.deletion_timestamp.is_some() {
        return Ok(("applied", Action::await_change()));
    }
    let seen = Seen {
        set: context.watched.set(&namespace, &name).map(|set| StatefulSet::clone(&set)),
        pods: context.watched.pods(&namespace, &name),
    };
    let valid = validate::validate(resource, &context.defaults);
    let (verdict, cluster) = match valid {
        Err(problems) => (Verdict::Hindered("Invalid", join(&problems)), None),
        Ok(cluster) if resource.spec.paused => (Verdict::Paused, Some(cluster)),
        Ok(cluster) => (act(context, resource, &cluster, &seen).await?, Some(cluster)),
    };
    let readings = match &cluster {
        Some(cluster) if cluster.config.metrics_enabled => {
            pods::read(&seen.pods, cluster.probe_port().1).await
        }
        _ => Readings::default(),
    };
    let scaling = match &cluster {
        Some(cluster) if verdict == Verdict::Applied => {
            scale(context, resource, cluster, &seen, &readings).await?
        }
        _ => resource.status.as_ref().and_then(|status| status.autoscaling.clone()),
    };
    let is_ready =
        report::status(context, resource, cluster.as_ref(), &seen, &readings, &verdict, scaling).await?;
    let action = match verdict {
        Verdict::Applied if !is_ready => {
            context.metrics.requeued("progress");
            Action::requeue(SOON)
        }
        _ => {
            context.metrics.requeued("rest");
            Action::requeue(spread(LATER))
        }
    };
    let word = match verdict {
        Verdict::Applied => "applied",
        Verdict::Paused => "paused",
        Verdict::Hindered(..) => "hindered",
    };
    Ok((word, action))
}

/// Makes everything as it is to be.
async fn act(
    context: &Context,
    resource: &RevenProxCluster,
    cluster: &Cluster,
    seen: &Seen,
) -> Result<Verdict, ReconcileError> {
    if cluster.owns_mesh_key {
        let known = context.memo(&cluster.uid, |memo| memo.mesh_key.clone());
        if secrets::ensure_mesh_key(&context.client, cluster, known).await? {
            context.metrics.wrote("secret");
        }
    }
    let contents = match secrets::contents(&context.client, cluster).await {
        Ok(contents) => contents,
        Err(FilesError::Missing(what)) => return Ok(Verdict::Hindered("FileMissing", what)),
        Err(error) => return Err(error.into()),
    };
    if cluster.owns_mesh_key {
        let place = (FileKind::Secret, names::mesh(&cluster.name), MESH_KEY.to_owned());
        let key = contents.get(&place).cloned();
        context.memo(&cluster.uid, |memo| memo.mesh_key = key);
    }
    let (restart_checksum, content_checksum) = build::checksums(cluster, &contents);
    let replicas = replicas::next(cluster.wanted_replicas(), seen.set.as_ref(), &seen.pods);
    for child in build::build(cluster, &Inputs { replicas, restart_checksum }) {
        let version = if child.kind.is_extra() {
            context.applier.version(&cluster.namespace, child.kind, &child.name).await
        } else {
            Ok(context.watched.version(child.kind, &cluster.namespace, &child.name))
        };
        let applied = match version {
            Ok(version) => context.applier.apply(&cluster.uid, &child, version).await,
            Err(error) => Err(error),
        };
        match applied {
            Ok(Effect::Restored) => {
                let note =
                    format!("{:?} {} had been changed or removed and is as it was", child.kind, child.name);
                report::event(context, resource, EventType::Normal, "Restored", "Apply", note).await;
            }
            Ok(_) => {}
            Err(error) if error.is_refusal() => return Ok(refused(&error)),
            Err(error) => return Err(error.into()),
        }
    }
    clean(context, resource, cluster).await?;
    nudge(context, cluster, seen, &content_checksum).await?;
    repair(context, resource, cluster, seen).await?;
    Ok(Verdict::Applied)
}

fn refused(error: &ApplyError) -> Verdict {
    if error.kind.is_extra() && is_absent(&error.source) {
        let resource = error.kind.resource();
        let text = format!(
            "this Kubernetes has no {} ({}); install what defines it, or leave it out",
            resource.kind, resource.api_version
        );
        return Verdict::Hindered("KindMissing", text);
    }
    Verdict::Hindered("Refused", error.to_string())
}

/// Removes what is not asked for any more.
async fn clean(
    context: &Context,
    resource: &RevenProxCluster,
    cluster: &Cluster,
) -> Result<(), ReconcileError> {
    let generation = resource.metadata.generation;
    if context.memo(&cluster.uid, |memo| memo.cleaned == generation) {
        return Ok(());
    }
    for (kind, name) in build::unwanted(cluster) {
        if context.applier.remove(&cluster.namespace, &cluster.uid, kind, &name).await? {
            context.metrics.wrote("remove");
            let note = format!("{kind:?} {name} is not asked for any more");
            report::event(context, resource, EventType::Normal, "Removed", "Remove", note).await;
        }
    }
    context.memo(&cluster.uid, |memo| memo.cleaned = generation);
    Ok(())
}

/// Tells the kubelet that what pods read has changed.
async fn nudge(
    context: &Context,
    cluster: &Cluster,
    seen: &Seen,
    checksum: &str,
) -> Result<(), ReconcileError> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &cluster.namespace);
    for pod in &seen.pods {
        let known = pod.annotations().get(CONTENT_CHECKSUM).map(String::as_str);
        if known == Some(checksum) || pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let patch = json!({ "metadata": { "annotations": { CONTENT_CHECKSUM: checksum } } });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match pods.patch_metadata(&pod.name_any(), &params, &Patch::Merge(patch)).await {
            Ok(_) => context.metrics.wrote("nudge"),
            // A pod that has gone reads nothing any more.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(ReconcileError::api("annotate a pod")(error)),
        }
    }
    Ok(())
}

/// Removes a pod that keeps a rollout from going on.
async fn repair(
    context: &Context,
    resource: &RevenProxCluster,
    cluster: &Cluster,
    seen: &Seen,
) -> Result<(), ReconcileError> {
    let rollout = &cluster.spec.rollout;
    let Some(set) = &seen.set else { return Ok(()) };
    let now = Timestamp::now();
    let Some(stuck) = rollout::stuck(set, &seen.pods, rollout.partition, rollout.stuck_after_seconds, now)
    else {
        return Ok(());
    };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &cluster.namespace);
    // Only the very pod that was judged, as it was then.
    let preconditions =
        Preconditions { uid: Some(stuck.uid), resource_version: Some(stuck.resource_version) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match pods.delete(&stuck.name, &params).await {
        Ok(_) => {
            context.metrics.wrote("repair");
            let note = format!(
                "pod {} is of an earlier form, is not ready and is in the way of the newest",
                stuck.name
            );
            report::event(context, resource, EventType::Warning, "RolloutRepaired", "Delete", note).await;
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(ReconcileError::api("remove a pod that is stuck")(error)),
    }
}

/// Sets the number of proxies by how many subscribers there are. Returns what is to be said about it.
async fn scale(
    context: &Context,
    resource: &RevenProxCluster,
    cluster: &Cluster,
    seen: &Seen,
    readings: &Readings,
) -> Result<Option<AutoscalingStatus>, ReconcileError> {
    let before = resource.status.as_ref().and_then(|status| status.autoscaling.clone());
    let Some(settings) = &cluster.spec.autoscaling else { return Ok(None) };
    let Some(connections) = readings.connections() else { return Ok(before) };
    let ready = seen.pods.iter().filter(|pod| rollout::is_ready(pod)).count();
    let now = Timestamp::now();
    let look = Look {
        at: now.as_second(),
        replicas: cluster.spec.replicas,
        ready: i32::try_from(ready).unwrap_or(i32::MAX),
        connections,
        is_complete: readings.is_complete(),
    };
    let decision = context.memo(&cluster.uid, |memo| memo.scaling.decide(settings, look));
    let Some(decision) = decision else { return Ok(before) };
    let clusters: Api<RevenProxCluster> = Api::namespaced(context.client.clone(), &cluster.namespace);
    let patch = json!({ "spec": { "replicas": decision.replicas } });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let scaled = clusters.patch_scale(&cluster.name, &params, &Patch::Merge(patch)).await;
    scaled.map_err(ReconcileError::api("set the number of proxies"))?;
    context.metrics.wrote("scale");
    let note = format!("from {} to {} proxies: {}", look.replicas, decision.replicas, decision.reason);
    report::event(context, resource, EventType::Normal, "Scaled", "Scale", note).await;
    Ok(Some(AutoscalingStatus {
        desired_replicas: decision.replicas,
        reason: decision.reason,
        decided_at: Timestamp::from_second(now.as_second()).unwrap_or(now).to_string(),
    }))
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Up to a fifth more, so that not all clusters are looked at in the same moment.
fn spread(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    pause + pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 5.0)
}
