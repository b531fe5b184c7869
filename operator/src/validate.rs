//! From a resource as it was written to a cluster that can be built, or to everything that is wrong with it. Pure.

mod files;
mod memory;

use std::net::SocketAddr;

use k8s_openapi::api::{
    core::v1::{Affinity, EnvVar, Toleration, TopologySpreadConstraint},
    networking::v1::NetworkPolicyPeer,
};
use kube::ResourceExt as _;
use revenprox_config::Config;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub use self::files::{FileKind, FileReference};
use crate::{
    crd::{Raw, RawList, RevenProxCluster, RevenProxClusterSpec},
    names,
};

/// What holds for all clusters, by the operator's command line.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The image of clusters that name none.
    pub image: String,
    /// The namespace of the operator, from where it asks the proxies how they are.
    pub namespace: String,
}

/// A cluster whose parts fit together.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub namespace: String,
    /// The resource's identity.
    pub uid: String,
    /// What was asked for.
    pub spec: RevenProxClusterSpec,
    /// The proxies' image.
    pub image: String,
    /// The configuration as the proxies read it.
    pub config: Config,
    /// What the configuration names as files.
    pub files: Vec<FileReference>,
    /// Whether the operator makes the mesh's key.
    pub owns_mesh_key: bool,
    /// Where the operator is.
    pub operator_namespace: String,
}

/// Something that is wrong with a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, as in `spec.config.http.bind_address`.
    pub field: String,
    /// What is wrong with it and what to do.
    pub message: String,
}

/// Judges a resource. Returns everything that is wrong with it.
pub fn validate(resource: &RevenProxCluster, defaults: &Defaults) -> Result<Cluster, Vec<Problem>> {
    let (name, spec) = (resource.name_any(), &resource.spec);
    let mut problems = Vec::new();
    let mut json = spec.config.0.clone();
    let owns_mesh_key = own(&mut json, &name);
    memory::fit(&mut json, &spec.resources, &mut problems);
    let (json, files) = files::resolve(json, &mut problems);
    let config = Config::from_json(&json).map_err(|wrong| {
        problems
            .extend(wrong.into_iter().map(|problem| Problem::of_config(&problem.key, &problem.to_string())));
    });
    check_kinds(spec, &mut problems);
    if let Ok(config) = &config {
        check_ports(config, &mut problems);
    }
    match config {
        Ok(config) if problems.is_empty() => Ok(Cluster {
            image: spec.image.clone().unwrap_or_else(|| defaults.image.clone()),
            namespace: resource.namespace().unwrap_or_default(),
            uid: resource.uid().unwrap_or_default(),
            spec: spec.clone(),
            name,
            config,
            files,
            owns_mesh_key,
            operator_namespace: defaults.namespace.clone(),
        }),
        _ => Err(problems),
    }
}

/// Sets what the operator decides. Returns whether the mesh's key is the operator's.
fn own(json: &mut Map<String, Value>, name: &str) -> bool {
    let mesh = section(json, "nng");
    mesh.insert("listen_addresses".to_owned(), json!([format!("tcp://*:{}", names::MESH_PORT)]));
    let owns_key = mesh.get("key_file").is_none_or(Value::is_null);
    if owns_key {
        mesh.insert(
            "key_file".to_owned(),
            json!(format!("secret/{}/{}", names::mesh(name), names::MESH_KEY)),
        );
    }
    section(json, "discovery").insert("kubernetes_service".to_owned(), json!(names::mesh(name)));
    owns_key
}

fn section<'a>(json: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let value = json.entry(name).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it has just been made a table")
}

/// What Kubernetes defines is read as what it has to be.
fn check_kinds(spec: &RevenProxClusterSpec, problems: &mut Vec<Problem>) {
    let pods = &spec.pod_template;
    let one = |field: &str, raw: &Raw, problems: &mut Vec<Problem>| {
        check_kind::<Affinity>(field, &raw.0, problems);
    };
    if let Some(affinity) = &pods.affinity {
        one("spec.podTemplate.affinity", affinity, problems);
    }
    check_list::<Toleration>("spec.podTemplate.tolerations", &pods.tolerations, problems);
    check_list::<EnvVar>("spec.podTemplate.env", &pods.env, problems);
    if let Some(spread) = &pods.topology_spread_constraints {
        check_list::<TopologySpreadConstraint>(
            "spec.podTemplate.topologySpreadConstraints",
            spread,
            problems,
        );
    }
    if let Some(policy) = &spec.network_policy {
        check_list::<NetworkPolicyPeer>("spec.networkPolicy.clients", &policy.clients, problems);
    }
    for key in ["labels", "annotations"] {
        let map = if key == "labels" { &pods.labels } else { &pods.annotations };
        for name in map
            .keys()
            .filter(|name| name.starts_with("revenprox.io/") || names::selector("").contains_key(*name))
        {
            let message = format!("{name} is set by the operator; leave it out");
            problems.push(Problem { field: format!("spec.podTemplate.{key}"), message });
        }
    }
}

fn check_list<K: DeserializeOwned>(field: &str, list: &RawList, problems: &mut Vec<Problem>) {
    for (index, item) in list.0.iter().enumerate() {
        check_kind::<K>(&format!("{field}[{index}]"), item, problems);
    }
}

fn check_kind<K: DeserializeOwned>(field: &str, item: &Map<String, Value>, problems: &mut Vec<Problem>) {
    if let Err(error) = serde_json::from_value::<K>(Value::Object(item.clone())) {
        problems.push(Problem { field: field.to_owned(), message: error.to_string() });
    }
}

/// A Service leads to ports that are known and can be reached from other pods.
fn check_ports(config: &Config, problems: &mut Vec<Problem>) {
    let tls = config.tls.as_ref().map(|tls| tls.bind_address);
    let listeners =
        [("http", Some(config.http.bind_address)), ("tls", tls), ("admin", config.admin.bind_address)];
    let mut taken = vec![names::MESH_PORT, names::MESH_PORT + 1];
    for (name, address) in listeners.into_iter().filter_map(|(name, address)| Some((name, address?))) {
        let mut wrong = |message: &str| {
            problems.push(Problem::of_config(&format!("{name}.bind_address"), message));
        };
        if address.port() == 0 {
            wrong("takes any free port, but a Service needs a known one; name the port");
        } else if taken.contains(&address.port()) {
            wrong("has the port of another listener or of the mesh (5555 and 5556); take another port");
        }
        if address.ip().is_loopback() && !is_private(name, config) {
            wrong("is reached from within the pod only; listen on 0.0.0.0 or [::]");
        }
        taken.push(address.port());
    }
}

/// Whether nobody but the pod itself has to reach a listener.
fn is_private(listener: &str, config: &Config) -> bool {
    listener == "admin" && !config.admin.exclusive
}

// === impl Problem ===

impl Problem {
    fn of_config(key: &str, message: &str) -> Self {
        // A place that stands for the whole resource says nothing.
        let message = message.trim_start_matches(": ").to_owned();
        let message = message.strip_prefix(&format!("{key}: ")).map_or(message.clone(), str::to_owned);
        Self { field: format!("spec.config.{key}"), message }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

// === impl Cluster ===

impl Cluster {
    /// Where the proxies listen for clients.
    pub fn http_port(&self) -> u16 {
        self.config.http.bind_address.port()
    }

    /// Where the proxies listen for clients over TLS.
    pub fn tls_port(&self) -> Option<u16> {
        self.config.tls.as_ref().map(|tls| tls.bind_address.port())
    }

    /// Where operators reach the proxies.
    pub fn admin_port(&self) -> Option<u16> {
        self.config.admin.bind_address.as_ref().map(SocketAddr::port)
    }

    /// Where health and metrics answer: the name of the port and its number.
    pub fn probe_port(&self) -> (&'static str, u16) {
        match self.admin_port() {
            Some(port) if self.config.admin.exclusive => ("admin", port),
            _ => ("http", self.http_port()),
        }
    }

    /// How long a pod may take to end, in seconds: what it waits, the drain window, and the rest.
    pub fn grace_seconds(&self) -> i64 {
        let window = i64::try_from(self.config.http.drain_window_sec).unwrap_or(i64::MAX / 2);
        self.spec.shutdown.pre_stop_seconds + window + self.spec.shutdown.margin_seconds
    }

    /// How many replicas are wanted, within the bounds of scaling.
    pub fn wanted_replicas(&self) -> i32 {
        match &self.spec.autoscaling {
            // None at all is how a cluster is put to sleep.
            Some(_) if self.spec.replicas == 0 => 0,
            Some(scaling) => self.spec.replicas.max(scaling.min_replicas).min(scaling.max_replicas),
            None => self.spec.replicas,
        }
    }
}

#[cfg(test)]
mod tests;
