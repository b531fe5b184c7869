//! The `StatefulSet` of the proxies.

use serde_json::{Map, Value, json};

use super::{Child, Inputs, Kind};
use crate::{
    names::{self, CONFIG_FOLDER, CONTAINER, MESH_PORT, USER},
    validate::{Cluster, FileKind, FileReference},
};

/// How many earlier forms are kept.
const REVISIONS: i32 = 3;

pub(super) fn build(cluster: &Cluster, inputs: &Inputs) -> Child {
    let rollout = &cluster.spec.rollout;
    let mut update = json!({ "type": "RollingUpdate" });
    update["rollingUpdate"] = json!({ "partition": rollout.partition });
    let spec = json!({
        "replicas": inputs.replicas,
        "serviceName": names::mesh(&cluster.name),
        // Proxies need nobody to start with; one at a time is what a rollout does in any case.
        "podManagementPolicy": "Parallel",
        "updateStrategy": update,
        "minReadySeconds": rollout.min_ready_seconds,
        "revisionHistoryLimit": REVISIONS,
        "selector": { "matchLabels": names::selector(&cluster.name) },
        "template": template(cluster, inputs),
    });
    Child::new(cluster, Kind::StatefulSet, &cluster.name, json!({ "spec": spec }))
}

fn template(cluster: &Cluster, inputs: &Inputs) -> Value {
    let pods = &cluster.spec.pod_template;
    let mut labels = pods.labels.clone();
    labels.extend(names::labels(&cluster.name));
    let mut annotations = pods.annotations.clone();
    annotations.insert(names::RESTART_CHECKSUM.to_owned(), inputs.restart_checksum.clone());
    json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": pod(cluster) })
}

fn pod(cluster: &Cluster) -> Value {
    let template = &cluster.spec.pod_template;
    let mut pod = json!({
        "serviceAccountName": cluster.name,
        "automountServiceAccountToken": true,
        // Variables for each Service of the namespace would only be a burden.
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": cluster.grace_seconds(),
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [container(cluster)],
        "volumes": volumes(cluster),
        "topologySpreadConstraints": spread(cluster),
    });
    let optional = [
        ("imagePullSecrets", json!(cluster.spec.image_pull_secrets)),
        ("nodeSelector", json!(template.node_selector)),
        ("affinity", json!(template.affinity)),
        ("tolerations", json!(template.tolerations)),
        ("priorityClassName", json!(template.priority_class_name)),
        ("runtimeClassName", json!(template.runtime_class_name)),
    ];
    for (key, value) in optional {
        set_unless_empty(&mut pod, key, value);
    }
    pod
}

fn container(cluster: &Cluster) -> Value {
    let probe =
        |path: &str| json!({ "httpGet": { "path": path, "port": cluster.probe_port().0, "scheme": "HTTP" } });
    let with = |mut probe: Value, settings: Value| {
        if let (Some(probe), Value::Object(settings)) = (probe.as_object_mut(), settings) {
            probe.extend(settings);
        }
        probe
    };
    let mut container = json!({
        "name": CONTAINER,
        "image": cluster.image,
        "args": ["--config", format!("{CONFIG_FOLDER}/proxy.toml")],
        "ports": ports(cluster),
        "startupProbe": with(probe("/livez"), json!({ "periodSeconds": 1, "failureThreshold": 60 })),
        "livenessProbe": with(probe("/livez"), json!({ "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3 })),
        "readinessProbe": with(probe("/readyz"), json!({ "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 3 })),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": mounts(cluster),
    });
    if cluster.spec.shutdown.pre_stop_seconds > 0 {
        container["lifecycle"] =
            json!({ "preStop": { "sleep": { "seconds": cluster.spec.shutdown.pre_stop_seconds } } });
    }
    let resources = &cluster.spec.resources;
    let mut sizes = Map::new();
    for (key, map) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        if !map.is_empty() {
            sizes.insert(key.to_owned(), json!(map));
        }
    }
    set_unless_empty(&mut container, "resources", Value::Object(sizes));
    set_unless_empty(&mut container, "env", json!(cluster.spec.pod_template.env));
    set_unless_empty(&mut container, "imagePullPolicy", json!(cluster.spec.image_pull_policy));
    container
}

fn ports(cluster: &Cluster) -> Value {
    let all = [
        ("http", Some(cluster.http_port())),
        ("https", cluster.tls_port()),
        ("admin", cluster.admin_port()),
        ("mesh", Some(MESH_PORT)),
        ("mesh-requests", Some(MESH_PORT + 1)),
    ];
    let port = |(name, port): (&str, Option<u16>)| {
        port.map(|port| json!({ "name": name, "containerPort": port, "protocol": "TCP" }))
    };
    all.into_iter().filter_map(port).collect()
}

/// The objects that hold files, each once, with the keys that are needed.
fn holders(cluster: &Cluster) -> Vec<(&FileReference, Vec<&str>)> {
    let mut holders: Vec<(&FileReference, Vec<&str>)> = Vec::new();
    for file in &cluster.files {
        let known = holders.iter_mut().find(|(first, _)| first.kind == file.kind && first.name == file.name);
        match known {
            Some((_, keys)) if keys.contains(&file.key.as_str()) => {}
            Some((_, keys)) => keys.push(&file.key),
            None => holders.push((file, vec![&file.key])),
        }
    }
    holders
}

fn volumes(cluster: &Cluster) -> Value {
    let mut volumes = vec![json!({ "name": "config", "configMap": { "name": cluster.name } })];
    for (index, (file, keys)) in holders(cluster).into_iter().enumerate() {
        let items: Value = keys.iter().map(|key| json!({ "key": key, "path": key })).collect();
        let name = volume_name(index);
        volumes.push(match file.kind {
            FileKind::Secret => json!({
                "name": name, "secret": { "secretName": file.name, "items": items, "defaultMode": 0o440 },
            }),
            FileKind::ConfigMap => {
                json!({ "name": name, "configMap": { "name": file.name, "items": items } })
            }
        });
    }
    json!(volumes)
}

fn mounts(cluster: &Cluster) -> Value {
    let mut mounts = vec![json!({ "name": "config", "mountPath": CONFIG_FOLDER, "readOnly": true })];
    for (index, (file, _)) in holders(cluster).into_iter().enumerate() {
        mounts.push(json!({ "name": volume_name(index), "mountPath": file.folder(), "readOnly": true }));
    }
    json!(mounts)
}

fn volume_name(index: usize) -> String {
    format!("files-{index}")
}

/// Over zones, then over nodes, where that can be done.
fn spread(cluster: &Cluster) -> Value {
    let selector = json!({ "matchLabels": names::selector(&cluster.name) });
    match &cluster.spec.pod_template.topology_spread_constraints {
        None => ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
            .into_iter()
            .map(|key| {
                json!({
                    "topologyKey": key,
                    "maxSkew": 1,
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": selector,
                })
            })
            .collect(),
        Some(own) => own
            .0
            .iter()
            .map(|constraint| {
                let mut constraint = constraint.clone();
                constraint.entry("labelSelector").or_insert_with(|| selector.clone());
                Value::Object(constraint)
            })
            .collect(),
    }
}

fn set_unless_empty(object: &mut Value, key: &str, value: Value) {
    let is_empty = match &value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    if !is_empty {
        object[key] = value;
    }
}
