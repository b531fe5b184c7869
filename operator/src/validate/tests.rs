use serde_json::json;

use super::*;

fn resource(spec: &Value) -> RevenProxCluster {
    serde_json::from_value(json!({
        "apiVersion": "revenprox.io/v1alpha1",
        "kind": "RevenProxCluster",
        "metadata": { "name": "demo", "namespace": "here", "uid": "0b5e", "generation": 3 },
        "spec": spec,
    }))
    .unwrap()
}

fn defaults() -> Defaults {
    Defaults { image: "revenprox/proxy:1".to_owned(), namespace: "operators".to_owned() }
}

/// A configuration that is allowed to be open.
fn open(more: &Value) -> Value {
    let mut config = json!({ "jwt_verifier": { "require_authentication": false } });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "config": config })
}

fn wrong(spec: &Value) -> Vec<String> {
    match validate(&resource(spec), &defaults()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_smallest_cluster_has_a_mesh() {
    let cluster = validate(&resource(&open(&json!({}))), &defaults()).unwrap();
    let mesh = cluster.config.nng.as_ref().unwrap();
    assert_eq!(mesh.listen_addresses, ["tcp://*:5555"]);
    assert_eq!(mesh.key_file.as_deref(), Some("/etc/revenprox/files/secret/demo-mesh/key"));
    assert_eq!(cluster.config.discovery.kubernetes_service.as_deref(), Some("demo-mesh"));
    assert!(cluster.owns_mesh_key);
    assert_eq!((cluster.wanted_replicas(), cluster.grace_seconds()), (3, 2 + 30 + 15));
    assert_eq!(cluster.image, "revenprox/proxy:1");
}

#[test]
fn files_are_keys_of_secrets() {
    let spec = json!({ "config": {
        "nng": { "key_file": "secret/own/mesh" },
        "auth": { "keys": [{ "algorithm": "HS256", "secret_file": "secret/jwt/hs" }] },
        "jwt_verifier": { "webhook_url": "https://a.example/", "ca_file": "configmap/authority/ca.crt" },
    }});
    let cluster = validate(&resource(&spec), &defaults()).unwrap();
    assert!(!cluster.owns_mesh_key);
    let file = cluster.config.auth.keys[0].secret_file.clone().unwrap();
    assert_eq!(file.to_str(), Some("/etc/revenprox/files/secret/jwt/hs"));
    let reloaded: Vec<_> =
        cluster.files.iter().map(|file| (file.config_key.as_str(), file.is_reloaded())).collect();
    for expected in
        [("nng.key_file", false), ("auth.keys[].secret_file", true), ("jwt_verifier.ca_file", true)]
    {
        assert!(reloaded.contains(&expected), "{expected:?} is not in {reloaded:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_with_its_field() {
    let spec = json!({
        "config": {
            "http": { "bind_address": "127.0.0.1:8080", "max_headers": 3, "nonsense": 1 },
            "auth": { "keys": [{ "algorithm": "HS256", "secret_file": "/run/secret" }] },
        },
        "podTemplate": { "tolerations": [{ "tolerationSeconds": "long" }], "labels": { "revenprox.io/a": "b" } },
    });
    let wrong = wrong(&spec);
    for expected in [
        "spec.config.http.max_headers: must be between 8 and 1000, not 3",
        "spec.config.http.nonsense: is not a known key",
        "spec.config.auth.keys[].secret_file: must be secret/NAME/KEY or configmap/NAME/KEY, not \"/run/secret\"",
        "spec.podTemplate.tolerations[0]: invalid type",
        "spec.podTemplate.labels: revenprox.io/a is set by the operator; leave it out",
    ] {
        assert!(wrong.iter().any(|problem| problem.starts_with(expected)), "{expected} is not in {wrong:#?}");
    }
}

#[test]
fn ports_can_be_reached_and_are_different_ones() {
    let http = |address: &str| wrong(&open(&json!({ "http": { "bind_address": address } })));
    assert!(http("127.0.0.1:8080")[0].contains("listen on 0.0.0.0"), "{:?}", http("127.0.0.1:8080"));
    assert!(http("0.0.0.0:0")[0].contains("name the port"));
    assert!(http("0.0.0.0:5556")[0].contains("of the mesh"));
    assert_eq!(http("0.0.0.0:80"), Vec::<String>::new());
    let admin = |admin: Value| wrong(&open(&json!({ "admin": admin })));
    assert_eq!(admin(json!({ "bind_address": "127.0.0.1:9090" })), Vec::<String>::new());
    assert_eq!(admin(json!({ "bind_address": "127.0.0.1:9090", "exclusive": true })).len(), 1);
}

#[test]
fn scaling_has_bounds_and_a_cluster_can_be_put_to_sleep() {
    let wanted = |replicas: i32| {
        let mut spec = open(&json!({}));
        spec["replicas"] = json!(replicas);
        spec["autoscaling"] = json!({ "minReplicas": 2, "maxReplicas": 4, "targetConnections": 10 });
        validate(&resource(&spec), &defaults()).unwrap().wanted_replicas()
    };
    assert_eq!([0, 1, 3, 9].map(wanted), [0, 2, 3, 4]);
}
