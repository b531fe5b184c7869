//! Names that the operator, the pods and people agree on.

use std::collections::BTreeMap;

/// Who owns the fields that the operator sets.
pub const MANAGER: &str = "revenprox-operator";

/// The label that says who manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The label that says which cluster an object belongs to.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// The annotation with the checksum of everything whose change needs new pods.
pub const RESTART_CHECKSUM: &str = "revenprox.io/restart-checksum";

/// The annotation of a pod with the checksum of everything that reaches it while it runs. Setting it makes the kubelet look at the pod's
/// volumes at once instead of within two minutes.
pub const CONTENT_CHECKSUM: &str = "revenprox.io/content-checksum";

/// The container of the proxy in its pods.
pub const CONTAINER: &str = "proxy";

/// The port between instances. The one after it is used as well.
pub const MESH_PORT: u16 = 5555;

/// Where the configuration is in a pod.
pub const CONFIG_FOLDER: &str = "/etc/revenprox/config";

/// Where the Secrets and `ConfigMaps` that the configuration names are in a pod.
pub const FILES_FOLDER: &str = "/etc/revenprox/files";

/// The user and group of every process of ours.
pub const USER: i64 = 65532;

/// The key of the mesh's Secret that holds the mesh's key.
pub const MESH_KEY: &str = "key";

/// The Service for clients, the `StatefulSet` and most of what else a cluster has are named as it is; these are the others.
pub fn mesh(cluster: &str) -> String {
    format!("{cluster}-mesh")
}

/// The labels that pods are found by. They never change.
pub fn selector(cluster: &str) -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", "revenprox"), (INSTANCE, cluster), ("app.kubernetes.io/component", "proxy")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The labels of everything that belongs to a cluster.
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    let mut labels = selector(cluster);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert("app.kubernetes.io/part-of".to_owned(), "revenprox".to_owned());
    labels
}

/// Labels as a selector is written in one text.
pub fn selector_text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
