//! What is there only if it is asked for, and goes when it is not asked for any more.

use std::time::Duration;

use e2e::harness::{self, Outcome, Sandbox};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, DynamicObject};
use kube::discovery::ApiResource;
use kube::{Api, core::GroupVersionKind};
use revenprox_operator::crd::RevenProxCluster;
use serde_json::json;

use crate::support::{self, EVERYBODYS, ROLLOUT, basic, until};

/// Longest time until something has come or gone.
const SECONDS: Duration = Duration::from_secs(20);

#[test]
fn what_is_not_asked_for_any_more_goes() {
    harness::run("operator_optional", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let asked = json!({
            "replicas": 1,
            "networkPolicy": { "clients": [{ "namespaceSelector": {} }] },
            "ingress": { "host": "events.example.com", "annotations": { "example.com/a": "b" } },
        });
        operator.start(&basic("demo", &json!({ "spec": asked }))).await?;
        let policy = sandbox.api::<NetworkPolicy>().get("demo").await?;
        let rules = policy.spec.and_then(|spec| spec.ingress).unwrap_or_default();
        assert_eq!(rules.len(), 3, "clients, proxies of the same cluster, and the operator");
        let annotations =
            sandbox.api::<Ingress>().get("demo").await?.metadata.annotations.unwrap_or_default();
        for (key, value) in [("nginx.ingress.kubernetes.io/proxy-buffering", "off"), ("example.com/a", "b")] {
            assert_eq!(annotations.get(key).map(String::as_str), Some(value));
        }
        let not_asked =
            json!({ "networkPolicy": null, "ingress": null, "podDisruptionBudget": { "enabled": false } });
        operator.patch("demo", not_asked).await?;
        sandbox.wait_until_gone::<NetworkPolicy>("demo", SECONDS).await?;
        sandbox.wait_until_gone::<Ingress>("demo", SECONDS).await?;
        sandbox.wait_until_gone::<PodDisruptionBudget>("demo", SECONDS).await?;
        operator.patch("demo", json!({ "podDisruptionBudget": { "enabled": true } })).await?;
        sandbox.wait::<PodDisruptionBudget>("demo", SECONDS, |_| Ok(())).await?;
        // One of the same name that somebody else made stays.
        let foreign = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "demo" },
            "spec": { "podSelector": { "matchLabels": { "app": "other" } } },
        });
        sandbox.apply(&serde_yaml::to_string(&foreign)?).await?;
        operator.patch("demo", json!({ "rollout": { "minReadySeconds": 1 } })).await?;
        operator.ready("demo", 1).await?;
        sandbox.api::<NetworkPolicy>().get("demo").await?;
        Ok(())
    });
}

/// Definitions that take any object, in the place of the real ones.
fn definition(group: &str, plural: &str, kind: &str) -> serde_json::Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": { "api-approved.kubernetes.io": "unapproved, for a test" },
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List") },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                }},
            }],
        },
    })
}

const KINDS: [(&str, &str, &str); 2] = [
    ("gateway.networking.k8s.io", "httproutes", "HTTPRoute"),
    ("monitoring.coreos.com", "servicemonitors", "ServiceMonitor"),
];

fn objects(sandbox: &Sandbox, (group, plural, kind): (&str, &str, &str)) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
    Api::namespaced_with(sandbox.client(), sandbox.namespace(), &resource)
}

#[test]
fn a_route_and_a_monitor_come_when_their_kinds_do() {
    harness::run("operator_extra", async |sandbox| {
        let alone = EVERYBODYS.write().await;
        let operator = support::install_alone(sandbox).await?;
        let asked = json!({
            "replicas": 1,
            "route": { "parentRefs": [{ "name": "public" }] },
            "monitoring": { "labels": { "release": "prometheus" } },
        });
        operator.apply(&basic("demo", &json!({ "spec": asked }))).await?;
        let missing = support::has("Degraded", "True", "KindMissing");
        sandbox.wait::<RevenProxCluster>("demo", ROLLOUT, missing).await?;
        for (group, plural, kind) in KINDS {
            sandbox.apply(&serde_yaml::to_string(&definition(group, plural, kind))?).await?;
        }
        let outcome = comes_and_goes(sandbox, &operator).await;
        for (group, plural, _) in KINDS {
            let name = format!("{plural}.{group}");
            sandbox.tool("kubectl", &["delete", "crd", &name, "--ignore-not-found", "--timeout=60s"]).await?;
        }
        drop(alone);
        outcome
    });
}

async fn comes_and_goes(sandbox: &Sandbox, operator: &support::Operator<'_>) -> Outcome {
    operator.ready("demo", 1).await?;
    let route = objects(sandbox, KINDS[0]).get("demo").await?;
    assert_eq!(route.data["spec"]["rules"][0]["timeouts"]["request"], "0s");
    let monitor = objects(sandbox, KINDS[1]).get("demo").await?;
    assert_eq!(
        monitor.metadata.labels.unwrap_or_default().get("release").map(String::as_str),
        Some("prometheus")
    );
    // They are not watched, but looked at every ten seconds or so.
    for kind in KINDS {
        let objects = objects(sandbox, kind);
        let old = objects.get("demo").await?.metadata.uid;
        objects.delete("demo", &DeleteParams::default()).await?;
        let is_back = async || {
            Ok(objects.get_opt("demo").await?.is_some_and(|object: DynamicObject| object.metadata.uid != old))
        };
        let took = until(SECONDS, "an object that was removed", is_back).await?;
        println!("{} demo came back after {took:?}", kind.2);
    }
    operator.patch("demo", json!({ "route": null, "monitoring": null })).await?;
    for kind in KINDS {
        let is_gone = async || Ok(objects(sandbox, kind).get_opt("demo").await?.is_none());
        until(SECONDS, "an object that is not asked for", is_gone).await?;
    }
    operator.ready("demo", 1).await.map(drop)
}
