//! What others do to objects of a cluster: what is ours comes back, what is theirs stays, and where nothing happens nothing is written.

use std::time::{Duration, Instant};

use e2e::harness::{self, Outcome, Sandbox};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Resource;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{self, ROLLOUT, basic, until};

/// Longest time until something is as it was.
const SECONDS: Duration = Duration::from_secs(10);

/// A cluster with everything that a Kubernetes without extensions has.
fn everything() -> Value {
    basic("demo", &json!({ "spec": { "networkPolicy": {}, "ingress": { "host": "events.example.com" } } }))
}

#[test]
fn what_is_removed_comes_back_and_what_is_changed_is_set_right() {
    harness::run("operator_drift", async |sandbox| {
        let operator = support::install(sandbox).await?;
        operator.start(&everything()).await?;
        comes_back::<ServiceAccount>(sandbox, "demo").await?;
        comes_back::<Role>(sandbox, "demo").await?;
        comes_back::<RoleBinding>(sandbox, "demo").await?;
        comes_back::<ConfigMap>(sandbox, "demo").await?;
        comes_back::<Service>(sandbox, "demo").await?;
        comes_back::<Service>(sandbox, "demo-mesh").await?;
        comes_back::<PodDisruptionBudget>(sandbox, "demo").await?;
        comes_back::<NetworkPolicy>(sandbox, "demo").await?;
        comes_back::<Ingress>(sandbox, "demo").await?;
        comes_back::<StatefulSet>(sandbox, "demo").await?;
        operator.ready("demo", 3).await?;
        let no_rules = json!({ "rules": [] });
        let other = json!({ "spec": { "selector": { "app.kubernetes.io/instance": "other" } } });
        let open = json!({ "spec": { "ingress": [{}] } });
        let elsewhere = json!({ "spec": { "rules": [{ "host": "other.example.com" }] } });
        let mounted = json!({ "automountServiceAccountToken": true });
        is_set_right::<ServiceAccount>(sandbox, "demo", "/automountServiceAccountToken", mounted).await?;
        is_set_right::<Role>(sandbox, "demo", "/rules", no_rules).await?;
        is_set_right::<RoleBinding>(sandbox, "demo", "/subjects", json!({ "subjects": [] })).await?;
        let nonsense = json!({ "data": { "proxy.toml": "nonsense" } });
        is_set_right::<ConfigMap>(sandbox, "demo", "/data/proxy.toml", nonsense).await?;
        is_set_right::<Service>(sandbox, "demo", "/spec/selector", other.clone()).await?;
        is_set_right::<Service>(sandbox, "demo-mesh", "/spec/selector", other).await?;
        let two = json!({ "spec": { "maxUnavailable": 2 } });
        is_set_right::<PodDisruptionBudget>(sandbox, "demo", "/spec/maxUnavailable", two).await?;
        is_set_right::<NetworkPolicy>(sandbox, "demo", "/spec/ingress", open).await?;
        is_set_right::<Ingress>(sandbox, "demo", "/spec/rules", elsewhere).await?;
        let four = json!({ "spec": { "replicas": 4 } });
        is_set_right::<StatefulSet>(sandbox, "demo", "/spec/replicas", four).await?;
        operator.ready("demo", 3).await?;
        until(ROLLOUT, "the fourth pod is gone", async || Ok(operator.uids("demo").await?.len() == 3))
            .await?;
        // The key of the mesh has no watch; it is looked for every ten seconds.
        // With another key than before the proxies would not hear each other any more.
        let (pods, key) = (operator.uids("demo").await?, mesh_key(sandbox).await?);
        comes_back_within::<Secret>(sandbox, "demo-mesh", Duration::from_secs(30)).await?;
        assert!(mesh_key(sandbox).await? == key, "the mesh has another key");
        operator.settle().await?;
        operator.ready("demo", 3).await?;
        assert_eq!(operator.uids("demo").await?, pods, "the pods are others");
        Ok(())
    });
}

async fn mesh_key(sandbox: &Sandbox) -> Outcome<Option<Vec<u8>>> {
    let data = sandbox.api::<Secret>().get("demo-mesh").await?.data.unwrap_or_default();
    Ok(data.get("key").map(|key| key.0.clone()))
}

async fn comes_back<K>(sandbox: &Sandbox, name: &str) -> Outcome
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    comes_back_within::<K>(sandbox, name, SECONDS).await
}

async fn comes_back_within<K>(sandbox: &Sandbox, name: &str, limit: Duration) -> Outcome
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api = sandbox.api::<K>();
    let old = api.get(name).await?.meta().uid.clone();
    api.delete(name, &DeleteParams::background()).await?;
    let deleted = Instant::now();
    let is_new =
        |object: &K| if object.meta().uid == old { Err("it is the old one".to_owned()) } else { Ok(()) };
    sandbox.wait::<K>(name, limit, is_new).await?;
    println!("{} {name} came back after {:?}", K::kind(&()), deleted.elapsed());
    Ok(())
}

/// Changes a field by hand, and waits until it is as it was.
async fn is_set_right<K>(sandbox: &Sandbox, name: &str, field: &str, patch: Value) -> Outcome
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static,
{
    let read = |object: &K| serde_json::to_value(object).ok().and_then(|json| json.pointer(field).cloned());
    let api = sandbox.api::<K>();
    let right = read(&api.get(name).await?);
    assert!(right.is_some(), "{} {name} has no {field}", K::kind(&()));
    let wrong = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    let changed = Instant::now();
    assert_ne!(read(&wrong), right, "the change did not take");
    let judge = |object: &K| {
        if read(object) == right { Ok(()) } else { Err("it is as it was changed".to_owned()) }
    };
    sandbox.wait::<K>(name, SECONDS, judge).await?;
    println!("{} {name} was set right after {:?}", K::kind(&()), changed.elapsed());
    Ok(())
}

#[test]
fn a_deleted_resource_takes_everything_with_it() {
    harness::run("operator_goes", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let mut cluster = everything();
        support::merge(&mut cluster, &json!({ "spec": { "replicas": 1 } }));
        operator.start(&cluster).await?;
        let all = parts(sandbox).await?;
        assert!(all.lines().count() > 12, "{all}");
        operator.clusters().delete("demo", &DeleteParams::default()).await?;
        until(ROLLOUT, "nothing is left", async || Ok(parts(sandbox).await?.is_empty())).await?;
        Ok(())
    });
}

/// All that is there because of the cluster, also what Kubernetes makes of what the operator makes.
async fn parts(sandbox: &Sandbox) -> Outcome<String> {
    let kinds = "rpx,statefulsets,controllerrevisions,pods,configmaps,secrets,services,endpointslices,serviceaccounts,roles,rolebindings,poddisruptionbudgets,networkpolicies,ingresses";
    sandbox.tool("kubectl", &["get", kinds, "-l", "app.kubernetes.io/instance=demo", "-o", "name"]).await
}

#[test]
fn fields_of_others_stay() {
    harness::run("operator_foreign", async |sandbox| {
        let operator = support::install(sandbox).await?;
        operator.start(&everything()).await?;
        let foreign = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "demo", "annotations": { "example.com/owner": "somebody else" } },
            "spec": { "externalIPs": ["192.0.2.7"] },
        });
        let manager = PatchParams::apply("somebody-else");
        sandbox.api::<Service>().patch("demo", &manager, &Patch::Apply(&foreign)).await?;
        // A change of ours makes the operator write the same object.
        operator
            .patch("demo", json!({ "service": { "annotations": { "example.com/ours": "yes" } } }))
            .await?;
        let both = |service: &Service| {
            let annotations = service.metadata.annotations.clone().unwrap_or_default();
            let ips = service.spec.as_ref().and_then(|spec| spec.external_ips.clone()).unwrap_or_default();
            let ours = annotations.contains_key("example.com/ours");
            let theirs = annotations.contains_key("example.com/owner") && ips == ["192.0.2.7"];
            if ours && theirs { Ok(()) } else { Err(format!("{annotations:?} {ips:?}")) }
        };
        sandbox.wait::<Service>("demo", SECONDS, both).await?;
        operator.ready("demo", 3).await?;
        Ok(())
    });
}

#[test]
fn nothing_is_written_where_nothing_happens() {
    harness::run("operator_rest", async |sandbox| {
        let operator = support::install(sandbox).await?;
        operator.start(&everything()).await?;
        operator.settle().await?;
        let versions = versions(sandbox).await?;
        operator.rest().await?;
        assert_eq!(self::versions(sandbox).await?, versions);
        Ok(())
    });
}

/// The versions of all that the operator writes.
async fn versions(sandbox: &Sandbox) -> Outcome<String> {
    let kinds = "rpx,statefulsets,configmaps,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets,networkpolicies,ingresses,pods";
    let columns = "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion";
    sandbox
        .tool(
            "kubectl",
            &["get", kinds, "-l", "app.kubernetes.io/instance=demo", "-o", columns, "--no-headers"],
        )
        .await
}
