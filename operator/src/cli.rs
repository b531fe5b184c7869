//! The command line.

use std::{net::SocketAddr, path::Path};

use clap::{Args, Parser, Subcommand, ValueEnum};
use kube::CustomResourceExt as _;

use crate::crd::RevenProxCluster;

/// Runs clusters of RevenProx proxies in Kubernetes.
#[derive(Parser, Debug)]
#[command(name = "revenprox-operator", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Look after clusters until a signal ends it.
    Run(RunArgs),
    /// Print the definition of the resource.
    Crd,
    /// Ask an operator how it is: ends with 0 if it answers with 200.
    Probe(ProbeArgs),
}

/// How the operator runs.
#[derive(Args, Debug, Clone)]
pub struct RunArgs {
    /// The image of clusters that name none.
    #[arg(long, env = "REVENPROX_PROXY_IMAGE", default_value = concat!("revenprox/proxy:", env!("CARGO_PKG_VERSION")))]
    pub proxy_image: String,
    /// The namespaces that are watched, with commas; all without it.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Where probes and metrics answer.
    #[arg(long, env = "REVENPROX_OPERATOR_LISTEN", default_value = "0.0.0.0:8081")]
    pub listen: SocketAddr,
    /// The Lease that the acting one of several operators holds.
    #[arg(long, env = "REVENPROX_OPERATOR_LEASE", default_value = "revenprox-operator")]
    pub lease: String,
    /// The namespace of the Lease: the one of this pod, unless another is named.
    #[arg(long, env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// The name of this process among operators; its host name, unless another is given.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// The OpenTelemetry collector that traces of reconciles are sent to, as `http://collector:4318`; without it, there are none.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// What is logged, as a filter of `tracing`: `info`, `revenprox_operator=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,
    /// How log lines are written.
    #[arg(long, env = "REVENPROX_OPERATOR_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
}

/// Whom to ask what.
#[derive(Args, Debug, Clone)]
pub struct ProbeArgs {
    /// Address and port.
    pub address: String,
    /// What is asked for.
    #[arg(default_value = "/readyz")]
    pub path: String,
}

/// How log lines are written.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

// === impl RunArgs ===

impl RunArgs {
    /// The name of this process among operators.
    pub fn identity(&self) -> String {
        let host = || std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).ok();
        let name = self.identity.clone().or_else(host).unwrap_or_default();
        let name = name.trim();
        if name.is_empty() { "revenprox-operator".to_owned() } else { name.to_owned() }
    }

    /// The namespaces that are watched; none stands for all.
    pub fn namespaces(&self) -> Vec<String> {
        let mut namespaces: Vec<String> = self
            .watch_namespaces
            .iter()
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        namespaces.sort();
        namespaces.dedup();
        namespaces
    }
}

/// The definition of the resource, as it is in `crds/`.
pub fn crd_yaml() -> String {
    serde_yaml::to_string(&RevenProxCluster::crd()).expect("a definition is representable as YAML")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_named_once() {
        let cli = Cli::parse_from(["revenprox-operator", "run", "--watch-namespaces", "b, a,,b"]);
        let Command::Run(args) = cli.command else { panic!("it is run") };
        assert_eq!(args.namespaces(), ["a", "b"]);
    }
}
