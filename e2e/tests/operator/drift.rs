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
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{self, basic};

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
        is_set_right::<ConfigMap>(sandbox, json!({ "data": { "proxy.toml": "nonsense" } }), |map| {
            map.data
                .as_ref()
                .and_then(|data| data.get("proxy.toml"))
                .is_some_and(|text| text.contains("[nng]"))
        })
        .await?;
        is_set_right::<Service>(
            sandbox,
            json!({ "spec": { "selector": { "app.kubernetes.io/instance": "other" } } }),
            |service| {
                let selector =
                    service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
                selector.get("app.kubernetes.io/instance").is_some_and(|of| of == "demo")
            },
        )
        .await?;
        is_set_right::<StatefulSet>(sandbox, json!({ "spec": { "replicas": 4 } }), |set| {
            set.spec.as_ref().and_then(|spec| spec.replicas) == Some(3)
        })
        .await?;
        is_set_right::<Role>(sandbox, json!({ "rules": [] }), |role| {
            role.rules.as_ref().is_some_and(|rules| rules.len() == 1)
        })
        .await?;
        // The key of the mesh has no watch; it is looked for every ten seconds.
        comes_back_within::<Secret>(sandbox, "demo-mesh", Duration::from_secs(30)).await?;
        Ok(())
    });
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

async fn is_set_right<K>(sandbox: &Sandbox, patch: Value, is_right: impl Fn(&K) -> bool) -> Outcome
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let wrong = sandbox.api::<K>().patch("demo", &PatchParams::default(), &Patch::Merge(patch)).await?;
    let changed = Instant::now();
    assert!(!is_right(&wrong), "the change did not take");
    let judge =
        |object: &K| if is_right(object) { Ok(()) } else { Err("it is as it was changed".to_owned()) };
    sandbox.wait::<K>("demo", SECONDS, judge).await?;
    println!("{} was set right after {:?}", K::kind(&()), changed.elapsed());
    Ok(())
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
