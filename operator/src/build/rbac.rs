//! What a proxy may ask the API server: where the other proxies of its namespace are.

use serde_json::json;

use super::{Child, Kind};
use crate::validate::Cluster;

pub(super) fn build(cluster: &Cluster) -> Vec<Child> {
    let name = &cluster.name;
    let role = json!({
        "rules": [{
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"],
        }],
    });
    let binding = json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": cluster.namespace }],
    });
    vec![
        // The token is mounted by the pods that need it.
        Child::new(cluster, Kind::ServiceAccount, name, json!({ "automountServiceAccountToken": false })),
        Child::new(cluster, Kind::Role, name, role),
        Child::new(cluster, Kind::RoleBinding, name, binding),
    ]
}
