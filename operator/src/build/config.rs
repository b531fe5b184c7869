//! The proxies' configuration file.

use serde_json::json;

use super::{Child, Kind};
use crate::validate::Cluster;

const HEAD: &str =
    "# Written by the RevenProx operator; change spec.config of the RevenProxCluster instead.\n";

pub(super) fn build(cluster: &Cluster) -> Child {
    let text = format!("{HEAD}{}", cluster.config.changed_toml());
    Child::new(cluster, Kind::ConfigMap, &cluster.name, json!({ "data": { "proxy.toml": text } }))
}
