//! Bad resources: the API server refuses them with a clear message, or they end in a condition that says what to do.

use e2e::harness::{self, Outcome, Sandbox};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, ValidationDirective};
use revenprox_operator::crd::RevenProxCluster;
use serde_json::{Value, json};

use crate::support::{self, Operator, ROLLOUT, basic};

/// What the API server says to a resource.
async fn said(sandbox: &Sandbox, resource: &Value) -> Outcome<Option<String>> {
    let clusters: Api<kube::core::DynamicObject> = Api::namespaced_with(
        sandbox.client(),
        sandbox.namespace(),
        &kube::discovery::ApiResource::erase::<RevenProxCluster>(&()),
    );
    let name = resource["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    // As kubectl does it: unknown fields are errors.
    let strict =
        PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::apply("test") };
    match clusters.patch(&name, &strict, &Patch::Apply(resource)).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// Specs that are refused, with a part of what is said.
fn bad_specs() -> Vec<(Value, &'static str)> {
    let config = |config: Value| json!({ "config": config });
    vec![
        (json!({ "replicas": -1 }), "spec.replicas"),
        (json!({ "replicas": 1001 }), "spec.replicas"),
        (json!({ "replicas": "three" }), "spec.replicas"),
        (json!({ "image": "" }), "spec.image"),
        (json!({ "imagePullPolicy": "Sometimes" }), "spec.imagePullPolicy"),
        (json!({ "nonsense": true }), "nonsense"),
        (json!({ "resources": { "limits": { "memory": "much" } } }), "spec.resources.limits"),
        (config(json!({ "http": { "max_connections": 0 } })), "spec.config.http.max_connections"),
        (config(json!({ "http": { "bind_address": "everywhere" } })), "spec.config.http.bind_address"),
        (
            config(json!({ "http": { "backpressure_policy": "drop_all" } })),
            "spec.config.http.backpressure_policy",
        ),
        (config(json!({ "http": { "nonsense": 1 } })), "nonsense"),
        (config(json!({ "log_level": "loud" })), "spec.config.log_level"),
        (config(json!({ "admin": { "token": "in the open" } })), "token"),
        (
            config(json!({ "auth": { "keys": [{ "algorithm": "HS256", "secret": "in the open" }] } })),
            "secret",
        ),
        (
            config(json!({ "auth": { "keys": [{ "algorithm": "none", "secret_file": "secret/a/b" }] } })),
            "algorithm",
        ),
        (
            config(json!({ "auth": { "keys": [{ "algorithm": "HS256", "secret_file": "/etc/passwd" }] } })),
            "secret_file",
        ),
        (config(json!({ "nng": { "listen_addresses": ["tcp://*:1"] } })), "listen_addresses"),
        (config(json!({ "tls": { "cert_file": "secret/web/tls.crt" } })), "key_file"),
        (json!({ "service": { "type": "ExternalName" } }), "spec.service.type"),
        (json!({ "service": { "nodePort": 30080 } }), "nodePort needs the type NodePort or LoadBalancer"),
        (json!({ "service": { "loadBalancerClass": "a" } }), "loadBalancerClass needs the type LoadBalancer"),
        (json!({ "service": { "externalTrafficPolicy": "Local" } }), "externalTrafficPolicy needs the type"),
        (json!({ "service": { "tlsPort": 443 } }), "service.tlsPort needs config.tls"),
        (
            json!({
                "service": { "port": 443, "tlsPort": 443 },
                "config": { "tls": { "cert_file": "secret/a/b", "key_file": "secret/a/c" } },
            }),
            "tlsPort must differ from port",
        ),
        (
            json!({ "ingress": { "host": "a" }, "route": { "parentRefs": [{ "name": "a" }] } }),
            "ingress and route are two ways to the same Service; keep one of them",
        ),
        (
            json!({ "ingress": { "host": "a", "tlsBackend": true } }),
            "ingress.tlsBackend needs service.tlsPort",
        ),
        (json!({ "ingress": { "host": "a", "path": "events" } }), "spec.ingress.path"),
        (json!({ "route": { "parentRefs": [] } }), "spec.route.parentRefs"),
        (
            json!({ "autoscaling": { "minReplicas": 5, "maxReplicas": 2, "targetConnections": 10 } }),
            "minReplicas must not be more than maxReplicas",
        ),
        (json!({ "autoscaling": { "maxReplicas": 2 } }), "targetConnections"),
        (json!({ "ipFamilies": ["IPv5"] }), "spec.ipFamilies"),
        (json!({ "shutdown": { "marginSeconds": 1 } }), "spec.shutdown.marginSeconds"),
        (json!({ "monitoring": { "interval": "often" } }), "spec.monitoring.interval"),
    ]
}

#[test]
fn the_api_server_refuses_bad_resources_and_says_why() {
    harness::run("operator_refused", async |sandbox| {
        let _everybodys = support::EVERYBODYS.read().await;
        support::define(sandbox).await?;
        let specs = bad_specs();
        for (spec, expected) in &specs {
            let message = said(sandbox, &basic("bad", &json!({ "spec": spec }))).await?;
            let message = message.ok_or_else(|| format!("{spec} is accepted"))?;
            assert!(message.contains(expected), "{spec} is refused, but {expected:?} is not in: {message}");
        }
        for name in ["Upper", "with.dot", "1st", "a-name-of-more-than-forty-characters-is-too-long"] {
            let message = said(sandbox, &basic(name, &json!({}))).await?;
            let message = message.ok_or_else(|| format!("the name {name} is accepted"))?;
            // Some names are not even those of an object; Kubernetes says so itself.
            let is_clear = message.contains("the name becomes that of Services and pods")
                || (name == "Upper" && message.contains("metadata.name"));
            assert!(is_clear, "the name {name} is refused: {message}");
        }
        println!("{} bad specs and four bad names are refused", specs.len());
        immutable(sandbox).await
    });
}

async fn immutable(sandbox: &Sandbox) -> Outcome {
    let cluster = |families: Value| basic("fixed", &json!({ "spec": { "ipFamilies": families } }));
    assert_eq!(said(sandbox, &cluster(json!(["IPv4"]))).await?, None);
    let message = said(sandbox, &cluster(json!(["IPv4", "IPv6"]))).await?.unwrap_or_default();
    assert!(message.contains("ipFamilies cannot be changed"), "{message}");
    let message = said(sandbox, &cluster(Value::Null)).await?.unwrap_or_default();
    assert!(message.contains("ipFamilies cannot be changed"), "{message}");
    Ok(())
}

/// Specs that only the proxy's own rules or the rest of the cluster can judge: what the condition says, and its reason.
fn hindered_specs() -> Vec<(Value, &'static str, &'static str)> {
    let config = |config: Value| json!({ "config": config });
    vec![
        (config(json!({ "jwt_verifier": null })), "Invalid", "jwt_verifier"),
        (
            config(json!({ "http": { "bind_address": "999.0.0.1:80" } })),
            "Invalid",
            "spec.config.http.bind_address",
        ),
        (config(json!({ "http": { "bind_address": "127.0.0.1:8080" } })), "Invalid", "listen on 0.0.0.0"),
        (config(json!({ "http": { "bind_address": "0.0.0.0:5555" } })), "Invalid", "take another port"),
        (
            config(json!({ "http": { "cors_allowed_origins": ["*", "https://a.example"] } })),
            "Invalid",
            "leave out the others",
        ),
        (config(json!({ "http": { "proxy_protocol": true } })), "Invalid", "trusted_proxies"),
        (
            config(json!({ "history": { "max_total_mb": 1, "max_bytes_per_topic": 2_000_000 } })),
            "Invalid",
            "history",
        ),
        (config(json!({ "publish": { "max_event_bytes": 9_000_000 } })), "Invalid", "max_body_size"),
        (config(json!({ "admin": { "exclusive": true } })), "Invalid", "set admin.bind_address"),
        (config(json!({ "limits": { "max_memory_mb": 100_000 } })), "Invalid", "resources.limits.memory"),
        (
            config(
                json!({ "auth": { "keys": [{ "algorithm": "HS256", "secret_file": "secret/none/key" }] } }),
            ),
            "FileMissing",
            "there is no Secret none",
        ),
        (
            json!({ "podTemplate": { "tolerations": [{ "tolerationSeconds": "long" }] } }),
            "Invalid",
            "spec.podTemplate.tolerations[0]",
        ),
        (
            json!({ "podTemplate": { "labels": { "app.kubernetes.io/name": "other" } } }),
            "Invalid",
            "is set by the operator",
        ),
        (json!({ "podTemplate": { "env": [{ "name": "not a name=" }] } }), "Refused", "env"),
        (json!({ "route": { "parentRefs": [{ "name": "a" }] } }), "KindMissing", "has no HTTPRoute"),
        (json!({ "monitoring": {} }), "KindMissing", "has no ServiceMonitor"),
    ]
}

#[test]
fn what_the_api_server_cannot_judge_ends_in_a_condition_that_says_what_to_do() {
    harness::run("operator_hindered", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let specs = hindered_specs();
        for (index, (spec, _, _)) in specs.iter().enumerate() {
            let quiet = basic(&format!("bad-{index}"), &json!({ "spec": { "replicas": 0 } }));
            let mut cluster = quiet.clone();
            support::merge(&mut cluster, &json!({ "spec": spec }));
            operator.apply(&cluster).await?;
        }
        for (index, (spec, reason, expected)) in specs.iter().enumerate() {
            says(&operator, &format!("bad-{index}"), spec, reason, expected).await?;
        }
        // The operator is none the worse for it.
        operator.start(&basic("good", &json!({ "spec": { "replicas": 1 } }))).await?;
        operator.settle().await?;
        let failed = failures(&operator.metrics().await?);
        let looks = operator.rest().await?;
        println!("{} resources are hindered; {failed} reconciles failed", specs.len());
        // One look every ten seconds at each of them and at the good one, and some to spare.
        let clusters = specs.len() as u64 + 1;
        assert!(looks <= clusters * 9, "{looks} looks in a minute at {clusters} clusters: it loops");
        let operators = ListParams::default().labels("app.kubernetes.io/name=revenprox-operator");
        for pod in sandbox.api::<Pod>().list(&operators).await?.items {
            let containers = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
            let restarts: i32 = containers.iter().map(|container| container.restart_count).sum();
            assert_eq!(restarts, 0, "the operator has ended");
        }
        assert_eq!(failures(&operator.metrics().await?), failed, "a look at what is refused is no failure");
        Ok(())
    });
}

fn failures(metrics: &str) -> u64 {
    let of = |result: &str| {
        support::sum(metrics, &format!("revenprox_operator_reconciles_total{{result=\"{result}\"}}"))
    };
    of("failed") + of("late")
}

async fn says(operator: &Operator<'_>, name: &str, spec: &Value, reason: &str, expected: &str) -> Outcome {
    let judge = |cluster: &RevenProxCluster| {
        let conditions = cluster.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let degraded = conditions.iter().find(|condition| condition.type_ == "Degraded");
        let degraded = degraded.ok_or("it has no condition")?;
        if degraded.status == "True" && degraded.reason == reason && degraded.message.contains(expected) {
            return Ok(());
        }
        Err(format!("{spec}: {} {}: {}", degraded.status, degraded.reason, degraded.message))
    };
    operator.sandbox.wait::<RevenProxCluster>(name, ROLLOUT, judge).await?;
    Ok(())
}
