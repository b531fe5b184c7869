//! What is built if it is asked for: disruption budget, network policy, ways in, monitoring.

use serde_json::{Value, json};

use super::{Child, Kind};
use crate::{
    crd::{Disruption, Ingress, Monitoring, NetworkPolicy, Route},
    names::{self, MESH_PORT},
    validate::Cluster,
};

/// Longest silence that an ingress controller has to bear, in seconds: keepalives come more often.
const INGRESS_SILENCE: &str = "3600";

pub(super) fn build(cluster: &Cluster) -> Vec<Child> {
    let spec = &cluster.spec;
    let budget = Some(&spec.pod_disruption_budget).filter(|budget| budget.enabled);
    [
        budget.map(|budget| disruption(cluster, budget)),
        spec.network_policy.as_ref().map(|policy| network_policy(cluster, policy)),
        spec.ingress.as_ref().map(|ingress_spec| ingress(cluster, ingress_spec)),
        spec.route.as_ref().map(|route_spec| route(cluster, route_spec)),
        spec.monitoring.as_ref().map(|monitoring| monitor(cluster, monitoring)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn disruption(cluster: &Cluster, budget: &Disruption) -> Child {
    let spec = json!({
        "maxUnavailable": budget.max_unavailable,
        // A pod that does not work anyway must not keep a node from being emptied.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": { "matchLabels": names::selector(&cluster.name) },
    });
    Child::new(cluster, Kind::PodDisruptionBudget, &cluster.name, json!({ "spec": spec }))
}

fn network_policy(cluster: &Cluster, policy: &NetworkPolicy) -> Child {
    let pods = json!({ "matchLabels": names::selector(&cluster.name) });
    let clients = [Some(cluster.http_port()), cluster.tls_port(), cluster.admin_port()];
    let clients: Vec<Value> =
        clients.into_iter().flatten().map(|port| json!({ "port": port, "protocol": "TCP" })).collect();
    let mut from_clients = json!({ "ports": clients });
    if !policy.clients.is_empty() {
        from_clients["from"] = json!(policy.clients);
    }
    let from_pods = json!({
        "from": [{ "podSelector": pods }],
        "ports": [
            { "port": MESH_PORT, "protocol": "TCP" },
            { "port": MESH_PORT + 1, "protocol": "TCP" },
        ],
    });
    let mut rules = vec![from_clients, from_pods];
    // Whoever lists clients need not think of the operator, without which nothing is known of the proxies.
    if !policy.clients.is_empty() {
        rules.push(json!({
            "from": [{
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": cluster.operator_namespace } },
                "podSelector": { "matchLabels": { "app.kubernetes.io/name": names::MANAGER } },
            }],
            "ports": [{ "port": cluster.probe_port().1, "protocol": "TCP" }],
        }));
    }
    let spec = json!({ "podSelector": pods, "policyTypes": ["Ingress"], "ingress": rules });
    Child::new(cluster, Kind::NetworkPolicy, &cluster.name, json!({ "spec": spec }))
}

fn ingress(cluster: &Cluster, ingress: &Ingress) -> Child {
    let port = if ingress.tls_backend { "https" } else { "http" };
    let backend = json!({ "service": { "name": cluster.name, "port": { "name": port } } });
    let mut spec = json!({
        "rules": [{
            "host": ingress.host,
            "http": { "paths": [{ "path": ingress.path, "pathType": "Prefix", "backend": backend }] },
        }],
    });
    if let Some(class) = &ingress.class_name {
        spec["ingressClassName"] = json!(class);
    }
    if let Some(secret) = &ingress.tls_secret_name {
        spec["tls"] = json!([{ "hosts": [ingress.host], "secretName": secret }]);
    }
    let nginx = |key: &str, value: &str| (format!("nginx.ingress.kubernetes.io/{key}"), value.to_owned());
    let protocol = if ingress.tls_backend { "HTTPS" } else { "HTTP" };
    let streams = [
        nginx("proxy-buffering", "off"),
        nginx("proxy-read-timeout", INGRESS_SILENCE),
        nginx("proxy-send-timeout", INGRESS_SILENCE),
        nginx("backend-protocol", protocol),
    ];
    Child::new(cluster, Kind::Ingress, &cluster.name, json!({ "spec": spec }))
        .annotated(streams.into_iter().chain(ingress.annotations.clone()))
}

fn route(cluster: &Cluster, route: &Route) -> Child {
    let mut spec = json!({
        "parentRefs": route.parent_refs,
        "rules": [{
            "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
            "backendRefs": [{ "name": cluster.name, "port": cluster.spec.service.port }],
            // A stream has no end that could be waited for.
            "timeouts": { "request": "0s", "backendRequest": "0s" },
        }],
    });
    if !route.hostnames.is_empty() {
        spec["hostnames"] = json!(route.hostnames);
    }
    Child::new(cluster, Kind::HttpRoute, &cluster.name, json!({ "spec": spec }))
}

fn monitor(cluster: &Cluster, monitoring: &Monitoring) -> Child {
    let (port, _) = cluster.probe_port();
    let spec = json!({
        "selector": { "matchLabels": names::selector(&cluster.name) },
        // Only one of the two Services has a port of this name, so each pod is asked once.
        "endpoints": [{ "port": port, "path": "/metrics", "interval": monitoring.interval }],
    });
    let mut child = Child::new(cluster, Kind::ServiceMonitor, &cluster.name, json!({ "spec": spec }));
    child.object.metadata.labels.get_or_insert_default().extend(monitoring.labels.clone());
    child
}
