//! From a valid cluster to the objects that it consists of. Pure: the same input always gives the same bytes.

mod config;
mod network;
mod rbac;
mod services;
mod workload;

use std::{collections::BTreeMap, fmt::Write as _};

use kube::{
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    names,
    validate::{Cluster, FileKind},
};

/// The kinds that a cluster can consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of Kubernetes")]
pub enum Kind {
    ServiceAccount,
    Role,
    RoleBinding,
    ConfigMap,
    Service,
    StatefulSet,
    PodDisruptionBudget,
    NetworkPolicy,
    Ingress,
    HttpRoute,
    ServiceMonitor,
}

/// An object that is to be as it is here.
#[derive(Debug, Clone)]
pub struct Child {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All of it.
    pub object: DynamicObject,
}

/// What a cluster is built from beside the resource itself.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// How many pods there are to be now.
    pub replicas: i32,
    /// The checksum of everything whose change needs new pods.
    pub restart_checksum: String,
}

/// Every object of the cluster, in the order in which they are needed.
pub fn build(cluster: &Cluster, inputs: &Inputs) -> Vec<Child> {
    let mut children = rbac::build(cluster);
    children.push(config::build(cluster));
    children.extend(services::build(cluster));
    children.push(workload::build(cluster, inputs));
    children.extend(network::build(cluster));
    children
}

/// The optional objects that this cluster has not asked for, which are removed if they are there.
pub fn unwanted(cluster: &Cluster) -> Vec<(Kind, String)> {
    let spec = &cluster.spec;
    let optional = [
        (Kind::PodDisruptionBudget, spec.pod_disruption_budget.enabled),
        (Kind::NetworkPolicy, spec.network_policy.is_some()),
        (Kind::Ingress, spec.ingress.is_some()),
        (Kind::HttpRoute, spec.route.is_some()),
        (Kind::ServiceMonitor, spec.monitoring.is_some()),
    ];
    optional.into_iter().filter(|(_, wanted)| !wanted).map(|(kind, _)| (kind, cluster.name.clone())).collect()
}

/// Contents of the files that the configuration names, by object and key.
pub type Contents = BTreeMap<(FileKind, String, String), Vec<u8>>;

/// The checksums of what needs new pods when it changes, and of all that reaches pods.
pub fn checksums(cluster: &Cluster, contents: &Contents) -> (String, String) {
    let mut restart = Sha256::new();
    let mut all = Sha256::new();
    let part = serde_json::to_vec(&cluster.config.restart_part());
    restart.update(part.expect("a configuration is representable as JSON"));
    all.update(cluster.config.changed_toml());
    for file in &cluster.files {
        let content = contents.get(&(file.kind, file.name.clone(), file.key.clone()));
        let digest = Sha256::digest(content.map_or(&[][..], Vec::as_slice));
        all.update(digest);
        if !file.is_reloaded() {
            restart.update(digest);
        }
    }
    (short_hex(&restart.finalize()), short_hex(&all.finalize()))
}

/// Bytes as lowercase hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes everything");
        text
    })
}

/// The first sixteen hex digits of a digest.
pub(crate) fn short_hex(digest: &[u8]) -> String {
    hex(digest.get(..8).unwrap_or(digest))
}

// === impl Kind ===

impl Kind {
    /// The API that has it.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::Role => ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
            Self::RoleBinding => ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
            Self::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
            Self::PodDisruptionBudget => ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::Ingress => ("networking.k8s.io", "v1", "Ingress", "ingresses"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
            Self::ServiceMonitor => ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// Whether not every Kubernetes has it.
    pub fn is_extra(self) -> bool {
        matches!(self, Self::HttpRoute | Self::ServiceMonitor)
    }
}

// === impl Child ===

impl Child {
    /// An object of a cluster; `body` is everything but its head.
    fn new(cluster: &Cluster, kind: Kind, name: &str, body: Value) -> Self {
        let mut object = DynamicObject::new(name, &kind.resource()).within(&cluster.namespace).data(body);
        object.metadata.labels = Some(names::labels(&cluster.name));
        object.metadata.owner_references = Some(vec![owner(cluster)]);
        Self { kind, name: name.to_owned(), object }
    }

    fn annotated(mut self, annotations: impl IntoIterator<Item = (String, String)>) -> Self {
        let annotations: BTreeMap<_, _> = annotations.into_iter().collect();
        self.object.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
        self
    }
}

/// The reference with which an object says that it goes when the cluster goes.
pub fn owner(cluster: &Cluster) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
    serde_json::from_value(json!({
        "apiVersion": "revenprox.io/v1alpha1",
        "kind": "RevenProxCluster",
        "name": cluster.name,
        "uid": cluster.uid,
        "controller": true,
    }))
    .expect("it has the fields of an owner reference")
}

#[cfg(test)]
mod tests;
