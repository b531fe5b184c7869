//! The Service for clients, and the one through which proxies find each other.

use serde_json::{Value, json};

use super::{Child, Kind};
use crate::{
    names::{self, MESH_PORT},
    validate::Cluster,
};

pub(super) fn build(cluster: &Cluster) -> [Child; 2] {
    [clients(cluster), mesh(cluster)]
}

fn clients(cluster: &Cluster) -> Child {
    let service = &cluster.spec.service;
    let mut http = json!({
        "name": "http", "port": service.port, "targetPort": "http", "protocol": "TCP", "appProtocol": "http",
    });
    if let Some(port) = service.node_port {
        http["nodePort"] = json!(port);
    }
    let mut ports = vec![http];
    if let Some(port) = service.tls_port {
        ports.push(json!({
            "name": "https", "port": port, "targetPort": "https", "protocol": "TCP", "appProtocol": "https",
        }));
    }
    let mut spec = json!({
        "type": service.kind,
        "selector": names::selector(&cluster.name),
        "ports": ports,
    });
    if let Some(class) = &service.load_balancer_class {
        spec["loadBalancerClass"] = json!(class);
    }
    if let Some(policy) = &service.external_traffic_policy {
        spec["externalTrafficPolicy"] = json!(policy);
    }
    add_families(cluster, &mut spec);
    Child::new(cluster, Kind::Service, &cluster.name, json!({ "spec": spec }))
        .annotated(service.annotations.clone())
}

fn mesh(cluster: &Cluster) -> Child {
    let mut ports = vec![
        json!({ "name": "mesh", "port": MESH_PORT, "targetPort": "mesh", "protocol": "TCP" }),
        json!({ "name": "mesh-requests", "port": MESH_PORT + 1, "targetPort": "mesh-requests", "protocol": "TCP" }),
    ];
    if let Some(port) = cluster.admin_port() {
        ports.push(json!({ "name": "admin", "port": port, "targetPort": "admin", "protocol": "TCP" }));
    }
    let mut spec = json!({
        "clusterIP": "None",
        // Proxies find each other before they are ready, for to be ready is to be known.
        "publishNotReadyAddresses": true,
        "selector": names::selector(&cluster.name),
        "ports": ports,
    });
    add_families(cluster, &mut spec);
    Child::new(cluster, Kind::Service, &names::mesh(&cluster.name), json!({ "spec": spec }))
}

fn add_families(cluster: &Cluster, spec: &mut Value) {
    if let Some(families) = &cluster.spec.ip_families {
        spec["ipFamilies"] = json!(families);
        let policy = if families.len() > 1 { "RequireDualStack" } else { "SingleStack" };
        spec["ipFamilyPolicy"] = json!(policy);
    }
}
