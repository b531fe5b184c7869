//! The section `[discovery]`.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http::texts;

/// How other instances are found, besides those of `nng.peer_addresses`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// A name whose addresses are the instances': with `dns_port`, its A and AAAA records; a name that begins with an
    /// underscore is asked for SRV records, which have ports of their own.
    #[schemars(length(min = 1, max = 253), extend("examples" = ["revenprox-mesh.default.svc"]))]
    pub dns_name: Option<String>,
    /// The port that goes with addresses.
    #[schemars(range(min = 1, max = 65534))]
    pub dns_port: u16,
    /// How often the name is looked up.
    #[schemars(range(min = 1, max = 3600), extend("x-unit" = "seconds"))]
    pub dns_interval_sec: u64,
    /// The DNS servers to ask, with their ports. Without any, those of `/etc/resolv.conf`.
    #[schemars(with = "Vec<String>", extend("examples" = [["10.96.0.10:53"]], "items" = texts("ip-port")))]
    pub dns_servers: Vec<SocketAddr>,
    /// The Service whose `EndpointSlices` list the instances, in Kubernetes.
    #[schemars(length(min = 1, max = 63), extend("examples" = ["revenprox-mesh"]))]
    pub kubernetes_service: Option<String>,
    /// Its namespace. Without it, the one of this pod.
    #[schemars(length(min = 1, max = 63), extend("examples" = ["default"]))]
    pub kubernetes_namespace: Option<String>,
    /// The name of the port in the `EndpointSlices`.
    #[schemars(length(min = 1, max = 63))]
    pub kubernetes_port: String,
    /// How long a new instance is not ready while it has not met all the instances that it knows of; those that do not answer
    /// in this time are not waited for.
    #[schemars(range(max = 600_000), extend("x-unit" = "milliseconds"))]
    pub ready_timeout_ms: u64,
}

// === impl Discovery ===

impl Default for Discovery {
    fn default() -> Self {
        Self {
            dns_name: None,
            dns_port: 5555,
            dns_interval_sec: 5,
            dns_servers: Vec::new(),
            kubernetes_service: None,
            kubernetes_namespace: None,
            kubernetes_port: "mesh".to_owned(),
            ready_timeout_ms: 5_000,
        }
    }
}

impl Discovery {
    /// Whether anything is to be discovered.
    pub fn is_on(&self) -> bool {
        self.dns_name.is_some() || self.kubernetes_service.is_some()
    }
}
