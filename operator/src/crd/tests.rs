use std::{fs, path::Path};

use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use super::*;

fn crd() -> Value {
    serde_json::to_value(RevenProxCluster::crd()).unwrap()
}

fn spec() -> Value {
    crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

#[test]
fn the_files_are_what_the_types_say() {
    for path in ["crds/revenproxclusters.yaml", "charts/revenprox-operator/files/revenproxclusters.yaml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        let written = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            written == crate::cli::crd_yaml(),
            "{path} is not what the types say; `make manifests` writes it"
        );
    }
}

#[test]
fn the_resource_is_small() {
    let bytes = crate::cli::crd_yaml().len();
    assert!(bytes < 100_000, "{bytes} bytes");
}

#[test]
fn secrets_cannot_be_written_in_the_open() {
    let text = spec().to_string();
    for key in ["hmac_secret\"", "\"secret\"", "\"token\"", "\"key\""] {
        assert!(!text.contains(key), "{key}");
    }
    let config = &spec()["properties"]["config"]["properties"];
    assert_eq!(
        config["auth"]["properties"]["keys"]["items"]["properties"]["secret_file"]["pattern"],
        json!(config::FILE_PATTERN)
    );
}

#[test]
fn what_the_operator_sets_is_not_asked_for() {
    let config = &spec()["properties"]["config"]["properties"];
    assert!(config["nng"]["properties"]["heartbeat_interval_sec"].is_object());
    assert!(config["nng"]["properties"].get("listen_addresses").is_none());
    assert!(config.get("proxy_id").is_none());
}

#[test]
fn numbers_of_the_schema_are_defaults_of_the_types() {
    let spec = spec();
    let defaults =
        serde_json::to_value(serde_json::from_value::<RevenProxClusterSpec>(json!({})).unwrap()).unwrap();
    assert_eq!(spec["properties"]["replicas"]["default"], defaults["replicas"]);
    assert_eq!(
        spec["properties"]["shutdown"]["properties"]["preStopSeconds"]["default"],
        defaults["shutdown"]["preStopSeconds"]
    );
    let http = &spec["properties"]["config"]["properties"]["http"]["properties"];
    assert_eq!(http["max_connections"]["default"], json!(revenprox_config::Http::default().max_connections));
}
