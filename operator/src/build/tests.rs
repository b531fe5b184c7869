use std::{fs, path::Path};

use serde_json::Value;

use super::*;
use crate::{
    crd::RevenProxCluster,
    validate::{Defaults, validate},
};

fn cluster(spec: &Value) -> Cluster {
    let resource: RevenProxCluster = serde_json::from_value(json!({
        "apiVersion": "revenprox.io/v1alpha1",
        "kind": "RevenProxCluster",
        "metadata": { "name": "demo", "namespace": "here", "uid": "0b5e" },
        "spec": spec,
    }))
    .unwrap();
    validate(
        &resource,
        &Defaults { image: "revenprox/proxy:1".to_owned(), namespace: "operators".to_owned() },
    )
    .unwrap()
}

fn smallest() -> Value {
    json!({ "config": { "jwt_verifier": { "require_authentication": false } } })
}

fn everything() -> Value {
    json!({
        "replicas": 5,
        "image": "example.com/proxy:2",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{ "name": "pull" }],
        "resources": { "requests": { "cpu": "100m" }, "limits": { "memory": "512Mi" } },
        "config": {
            "http": { "drain_window_sec": 60 },
            "admin": { "bind_address": "0.0.0.0:9090", "exclusive": true },
            "tls": { "cert_file": "secret/web/tls.crt", "key_file": "secret/web/tls.key" },
            "auth": { "keys": [{ "algorithm": "HS256", "secret_file": "secret/jwt/hs" }] },
            "jwt_verifier": { "webhook_url": "https://a.example/", "ca_file": "configmap/authority/ca.crt" },
        },
        "service": { "type": "LoadBalancer", "tlsPort": 443, "nodePort": 30080, "externalTrafficPolicy": "Local",
            "annotations": { "example.com/a": "b" } },
        "ipFamilies": ["IPv6", "IPv4"],
        "shutdown": { "preStopSeconds": 5, "marginSeconds": 20 },
        "rollout": { "minReadySeconds": 10, "partition": 1 },
        "podDisruptionBudget": { "maxUnavailable": 2 },
        "networkPolicy": { "clients": [{ "namespaceSelector": {} }] },
        "ingress": { "host": "events.example.com", "className": "nginx", "tlsSecretName": "web", "tlsBackend": true },
        "monitoring": { "labels": { "release": "prometheus" } },
        "podTemplate": {
            "labels": { "team": "a" },
            "annotations": { "example.com/c": "d" },
            "nodeSelector": { "kubernetes.io/arch": "amd64" },
            "tolerations": [{ "operator": "Exists" }],
            "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" }],
            "priorityClassName": "high",
            "env": [{ "name": "TZ", "value": "UTC" }],
        },
    })
}

fn inputs() -> Inputs {
    Inputs { replicas: 3, restart_checksum: "0123456789abcdef".to_owned() }
}

/// Compares what was built with a file; `GOLDEN=write` writes it.
fn check(name: &str, spec: &Value) {
    let children = build(&cluster(spec), &inputs());
    let texts: Vec<String> =
        children.iter().map(|child| serde_yaml::to_string(&child.object).unwrap()).collect();
    let built = texts.join("---\n");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/build/golden").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|golden| golden == "write") {
        fs::write(&file, &built).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap();
    assert!(built == expected, "{name} differs; look at what GOLDEN=write makes of it:\n{built}");
}

#[test]
fn the_smallest_cluster() {
    check("smallest.yaml", &smallest());
}

#[test]
fn a_cluster_with_everything() {
    check("everything.yaml", &everything());
}

#[test]
fn a_route_has_no_time_limits() {
    let mut spec = smallest();
    spec["route"] = json!({ "parentRefs": [{ "name": "gateway" }], "hostnames": ["events.example.com"] });
    check("route.yaml", &spec);
}

#[test]
fn what_is_not_asked_for_is_unwanted() {
    let kinds = |spec: &Value| unwanted(&cluster(spec)).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(
        kinds(&smallest()),
        [Kind::NetworkPolicy, Kind::Ingress, Kind::HttpRoute, Kind::ServiceMonitor]
    );
    assert_eq!(kinds(&everything()), [Kind::HttpRoute]);
}

#[test]
fn the_configuration_is_one_that_a_proxy_takes() {
    for spec in [smallest(), everything()] {
        let cluster = cluster(&spec);
        let child = config::build(&cluster);
        let text = child.object.data["data"]["proxy.toml"].as_str().unwrap();
        let read = revenprox_config::Config::parse("proxy.toml", text, []).unwrap();
        assert_eq!(read, cluster.config);
    }
}

#[test]
fn only_what_needs_new_pods_changes_their_checksum() {
    let base = checksums(&cluster(&smallest()), &Contents::new());
    let mut live = smallest();
    live["config"]["http"] = json!({ "max_connections": 5 });
    let live = checksums(&cluster(&live), &Contents::new());
    assert_eq!(live.0, base.0, "the running proxies take it on");
    assert_ne!(live.1, base.1);
    let mut restart = smallest();
    restart["config"]["http"] = json!({ "thread_pool_size": 2 });
    assert_ne!(checksums(&cluster(&restart), &Contents::new()).0, base.0);
}

#[test]
fn a_new_key_of_the_mesh_needs_new_pods_and_a_new_token_secret_does_not() {
    let cluster = cluster(&everything());
    let with = |name: &str, key: &str, content: &str| {
        Contents::from([((FileKind::Secret, name.to_owned(), key.to_owned()), content.as_bytes().to_vec())])
    };
    let (mesh, other_mesh) = (with("demo-mesh", "key", "a"), with("demo-mesh", "key", "b"));
    assert_ne!(checksums(&cluster, &mesh).0, checksums(&cluster, &other_mesh).0);
    let (token, other_token) = (with("jwt", "hs", "a"), with("jwt", "hs", "b"));
    assert_eq!(checksums(&cluster, &token).0, checksums(&cluster, &other_token).0);
    assert_ne!(checksums(&cluster, &token).1, checksums(&cluster, &other_token).1);
}
