//! The resource `RevenProxCluster`.
//!
//! Defaults are part of the schema, so what `kubectl get -o yaml` shows is what holds. What single values and pairs of them may be is said by the
//! schema and its rules, so the API server refuses what is wrong; what only the proxy's own rules can judge ends in a condition.

#![allow(unreachable_pub, reason = "the derived code repeats types in private modules")]

mod config;
mod parts;
mod raw;
mod status;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use self::{
    config::ProxyConfig,
    parts::{
        Autoscaling, Disruption, Ingress, LocalReference, Monitoring, NetworkPolicy, PodTemplate, PullPolicy,
        Resources, Rollout, Route, Service, ServiceType, Shutdown,
    },
    raw::{Raw, RawList},
    status::{AutoscalingStatus, RevenProxClusterStatus},
};

/// What a cluster of proxies is to be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "revenprox.io",
    version = "v1alpha1",
    kind = "RevenProxCluster",
    doc = "A cluster of RevenProx proxies, which work as one.",
    namespaced,
    status = "RevenProxClusterStatus",
    shortname = "rpx",
    category = "revenprox",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Connections", type_ = "integer", json_path = ".status.connections"),
    printcolumn(name = "Peers", type_ = "integer", json_path = ".status.peers", priority = 1),
    printcolumn(name = "Service", type_ = "string", json_path = ".status.serviceName", priority = 1),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name becomes that of Services and pods: at most 40 of a-z, 0-9 and -, beginning with a letter")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.ingress) && has(self.route))")
        .message("ingress and route are two ways to the same Service; keep one of them"),
    validation = Rule::new("!has(self.service) || !has(self.service.tlsPort) || (has(self.config) && has(self.config.tls))")
        .message("service.tlsPort needs config.tls, which names the certificate"),
    validation = Rule::new("!has(self.ingress) || !has(self.ingress.tlsBackend) || !self.ingress.tlsBackend || (has(self.service) && has(self.service.tlsPort))")
        .message("ingress.tlsBackend needs service.tlsPort"),
    validation = Rule::new("has(self.ipFamilies) == has(oldSelf.ipFamilies) && (!has(self.ipFamilies) || self.ipFamilies == oldSelf.ipFamilies)")
        .message("ipFamilies cannot be changed, as the first one of a Service cannot; make another cluster"),
)]
pub struct RevenProxClusterSpec {
    /// How many proxies there are. With `autoscaling` the operator sets it.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// The proxy's image. Without it, the one that the operator was installed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled. Without it, as Kubernetes does by the image's tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// The Secrets for pulling the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalReference>,
    /// What each proxy may use.
    #[serde(default)]
    pub resources: Resources,
    /// The configuration of every proxy, with the keys of `proxy.toml`. What names a file names a key of a Secret or of a `ConfigMap`:
    /// `secret/NAME/KEY` or `configmap/NAME/KEY`. Without `nng.key_file` the operator makes a key for the mesh.
    #[serde(default)]
    pub config: ProxyConfig,
    /// The Service for clients.
    #[serde(default)]
    pub service: Service,
    /// The IP families of the Services, in order. Without them, as the cluster does. They cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2), inner(regex(pattern = "^IPv[46]$"), length(max = 4)))]
    pub ip_families: Option<Vec<String>>,
    /// How a proxy ends. Over how long it lets its subscribers go is `config.http.drain_window_sec`.
    #[serde(default)]
    pub shutdown: Shutdown,
    /// How changes reach the pods.
    #[serde(default)]
    pub rollout: Rollout,
    /// How many proxies may be evicted at a time.
    #[serde(default)]
    pub pod_disruption_budget: Disruption,
    /// Who may reach the pods. Without it, everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// Sets `replicas` by how many subscribers are connected. Do not use it together with a `HorizontalPodAutoscaler` of this resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// An Ingress to the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// An `HTTPRoute` of the Gateway API to the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// A `ServiceMonitor` for the Prometheus operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    /// What else the pods are to have.
    #[serde(default)]
    pub pod_template: PodTemplate,
    /// Whether the operator leaves everything as it is, and only reports.
    #[serde(default)]
    pub paused: bool,
}

fn three() -> i32 {
    3
}

#[cfg(test)]
mod tests;
