//! The parts of a cluster beside the proxies' configuration.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Raw, RawList};

/// Values by name, such as labels.
type Words = BTreeMap<String, String>;

/// An object of the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// When an image is pulled.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are those of Kubernetes")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// What a container may use.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub struct Resources {
    /// What it is sure to get.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, serde_json::Value>,
    /// The most it gets. Without `config.limits.max_memory_mb` a proxy keeps within nine tenths of the memory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, serde_json::Value>,
}

/// The kind of a Service.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the words are those of Kubernetes")]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

/// The Service for clients.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.nodePort) || self.type != 'ClusterIP'")
        .message("nodePort needs the type NodePort or LoadBalancer"),
    validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'")
        .message("loadBalancerClass needs the type LoadBalancer"),
    validation = Rule::new("!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'")
        .message("externalTrafficPolicy needs the type NodePort or LoadBalancer"),
    validation = Rule::new("!has(self.tlsPort) || self.tlsPort != self.port")
        .message("tlsPort must differ from port"),
)]
pub struct Service {
    /// How it is reached from outside, if at all.
    #[serde(default, rename = "type")]
    pub kind: ServiceType,
    /// Its annotations, as load balancers want them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Words,
    /// The port for plain text.
    #[serde(default = "eighty")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The port for TLS; needs `config.tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub tls_port: Option<u16>,
    /// The port of the nodes that leads to `port`. Without it, any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<u16>,
    /// The implementation of load balancers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// `Local` keeps the addresses of clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(Cluster|Local)$"))]
    pub external_traffic_policy: Option<String>,
}

/// How a proxy ends.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Shutdown {
    /// How long a pod goes on as before when it is to end, until everybody knows that no connection is to be sent there any more.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 300))]
    pub pre_stop_seconds: i64,
    /// What a pod is given beyond that and the drain window before it is killed.
    #[serde(default = "fifteen")]
    #[schemars(range(min = 15, max = 3600))]
    pub margin_seconds: i64,
}

/// How changes reach the pods.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// How long a new pod must have been ready before the next one is replaced: until it has met the others and has its part of the history.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: i32,
    /// Only pods with this number or a higher one are replaced.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub partition: i32,
    /// After how long a pod of an earlier revision that is not ready is removed, so that the rollout goes on.
    #[serde(default = "sixty")]
    #[schemars(range(min = 5, max = 86400))]
    pub stuck_after_seconds: i64,
}

/// A `PodDisruptionBudget`.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Whether there is one.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// How many proxies may be evicted at a time.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_unavailable: i32,
}

/// Who may reach the pods.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// From where clients, metrics and probes come, as `NetworkPolicyPeer`s; the operator need not be among them. Without any, from
    /// everywhere. The mesh is for pods of the same cluster in any case.
    #[serde(default, skip_serializing_if = "RawList::is_empty")]
    pub clients: RawList,
}

/// Scaling by connections.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas")
    .message("minReplicas must not be more than maxReplicas"))]
pub struct Autoscaling {
    /// The fewest proxies.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// The most proxies.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// How many subscribers a proxy should have.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub target_connections: i64,
    /// For how long fewer proxies must have been enough before one is taken away, and between two of them.
    #[serde(default = "three_hundred")]
    #[schemars(range(min = 1, max = 86400))]
    pub scale_down_after_seconds: i64,
}

/// An Ingress.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// The name that clients use.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// The part of the URL that leads here.
    #[serde(default = "root")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub path: String,
    /// The controller that serves it. Without it, the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Annotations for the controller. Those that streams need are there for nginx; what stands here wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Words,
    /// The Secret with the certificate for `host`. Without it, plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: Option<String>,
    /// Whether the controller speaks TLS to the proxies; needs `service.tlsPort`.
    #[serde(default)]
    pub tls_backend: bool,
}

/// An `HTTPRoute`.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The Gateways, as `ParentReference`s.
    #[schemars(extend("minItems" = 1))]
    pub parent_refs: RawList,
    /// The names that clients use. Without any, those of the Gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
}

/// A `ServiceMonitor`.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// The labels by which a Prometheus finds it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: Words,
    /// How often metrics are read.
    #[serde(default = "thirty_seconds")]
    #[schemars(regex(pattern = "^[1-9][0-9]*(ms|s|m)$"), length(max = 8))]
    pub interval: String,
}

/// What else pods are to have.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Further labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: Words,
    /// Further annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Words,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: Words,
    /// Where pods may and should be, as an `Affinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Raw>,
    /// `Toleration`s.
    #[serde(default, skip_serializing_if = "RawList::is_empty")]
    pub tolerations: RawList,
    /// `TopologySpreadConstraint`s. Without them pods are spread over zones and nodes where that can be done; an empty list leaves that out. A
    /// constraint without `labelSelector` is about the pods of this cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<RawList>,
    /// The priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// The runtime class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,
    /// Further variables of the environment, as `EnvVar`s.
    #[serde(default, skip_serializing_if = "RawList::is_empty")]
    pub env: RawList,
}

// === impl Service ===

impl Default for Service {
    fn default() -> Self {
        Self {
            kind: ServiceType::default(),
            annotations: Words::new(),
            port: eighty(),
            tls_port: None,
            node_port: None,
            load_balancer_class: None,
            external_traffic_policy: None,
        }
    }
}

// === impl Shutdown ===

impl Default for Shutdown {
    fn default() -> Self {
        Self { pre_stop_seconds: two(), margin_seconds: fifteen() }
    }
}

// === impl Rollout ===

impl Default for Rollout {
    fn default() -> Self {
        Self { min_ready_seconds: three(), partition: 0, stuck_after_seconds: sixty() }
    }
}

// === impl Disruption ===

impl Default for Disruption {
    fn default() -> Self {
        Self { enabled: yes(), max_unavailable: one() }
    }
}

fn quantities(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "pattern": r"^[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[munkMGTPE]|[eE][+-]?[0-9]+)?$",
            "x-kubernetes-int-or-string": true,
        },
    })
}

fn eighty() -> u16 {
    80
}

fn one() -> i32 {
    1
}

fn two() -> i64 {
    2
}

fn three() -> i32 {
    3
}

fn fifteen() -> i64 {
    15
}

fn sixty() -> i64 {
    60
}

fn three_hundred() -> i64 {
    300
}

fn yes() -> bool {
    true
}

fn root() -> String {
    "/".to_owned()
}

fn thirty_seconds() -> String {
    "30s".to_owned()
}
