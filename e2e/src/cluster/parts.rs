//! The parts of the cluster: how each is started, and how it says that it works.

use std::path::PathBuf;

use super::credentials::{client_configuration, service_account_key, service_account_public_key};
use super::layout::{ADDRESS, Layout, NODE, SERVICE_RANGE, ports};
use super::preflight;
use super::programs::Programs;

/// One long-running part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The store of the API server.
    Etcd,
    /// Runs containers for the kubelet.
    Containerd,
    /// The API.
    ApiServer,
    /// Makes pods of `StatefulSets` and the like, and endpoints of Services.
    ControllerManager,
    /// Gives pods a node.
    Scheduler,
    /// Runs the pods of this node.
    Kubelet,
    /// Makes Service addresses work.
    KubeProxy,
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// How to ask a part whether it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A plain HTTP answer of 200 on a loopback port.
    Http(u16, &'static str),
    /// An HTTPS answer of 200 on a loopback port, whoever signed its certificate.
    Https(u16, &'static str),
    /// The API server's own answer, asked as the administrator.
    Api,
    /// containerd's answer on its socket.
    Containerd,
}

// === impl Part ===

impl Part {
    /// Every part in the order of starting; stopping is the reverse.
    pub const ALL: [Self; 7] = [
        Self::Etcd,
        Self::Containerd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kubelet,
        Self::KubeProxy,
    ];

    /// The same in groups: those of a group start at once, when all before them work.
    pub fn groups() -> [&'static [Self]; 3] {
        static ALL: [Part; 7] = Part::ALL;
        let (stores, rest) = ALL.split_at(2);
        let (api, clients) = rest.split_at(1);
        [stores, api, clients]
    }

    /// Its name: the usual one of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Containerd => "containerd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
        }
    }

    /// How it is asked whether it works.
    pub fn probe(self) -> Probe {
        match self {
            Self::Etcd => Probe::Http(ports::ETCD, "/health"),
            Self::Containerd => Probe::Containerd,
            Self::ApiServer => Probe::Api,
            Self::ControllerManager => Probe::Https(ports::CONTROLLER_MANAGER, "/healthz"),
            Self::Scheduler => Probe::Https(ports::SCHEDULER, "/healthz"),
            Self::Kubelet => Probe::Http(ports::KUBELET_HEALTH, "/healthz"),
            Self::KubeProxy => Probe::Http(ports::PROXY_HEALTH, "/healthz"),
        }
    }

    /// How it is started.
    pub fn command_line(self, layout: &Layout, programs: &Programs) -> CommandLine {
        let program = match self {
            Self::Containerd => {
                preflight::find_program("containerd").unwrap_or_else(|| PathBuf::from("containerd"))
            }
            _ => programs.path(self.name()),
        };
        let arguments = match self {
            Self::Etcd => etcd(layout),
            Self::Containerd => vec![flag("config", &layout.at("etc/containerd.toml").display())],
            Self::ApiServer => api_server(layout),
            Self::ControllerManager => controller_manager(layout),
            Self::Scheduler => scheduler(layout),
            Self::Kubelet => kubelet(layout),
            Self::KubeProxy => vec![flag("config", &layout.at("etc/kube-proxy.yaml").display())],
        };
        CommandLine { program, arguments }
    }
}

fn flag(name: &str, value: &dyn std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn etcd(layout: &Layout) -> Vec<String> {
    let client = format!("http://127.0.0.1:{}", ports::ETCD);
    let peer = format!("http://127.0.0.1:{}", ports::ETCD_PEER);
    vec![
        flag("name", &NODE),
        flag("data-dir", &layout.at("etcd").display()),
        flag("listen-client-urls", &client),
        flag("advertise-client-urls", &client),
        flag("listen-peer-urls", &peer),
        flag("initial-advertise-peer-urls", &peer),
        flag("initial-cluster", &format!("{NODE}={peer}")),
        flag("log-level", &"warn"),
        // What a crash of the whole machine loses was going to be removed anyway.
        flag("unsafe-no-fsync", &true),
    ]
}

fn api_server(layout: &Layout) -> Vec<String> {
    vec![
        flag("etcd-servers", &format!("http://127.0.0.1:{}", ports::ETCD)),
        // Only this machine and its pods can reach the bridge.
        flag("bind-address", &ADDRESS),
        flag("advertise-address", &ADDRESS),
        flag("secure-port", &ports::API),
        // It makes its own certificate here, which clients trust directly.
        flag("cert-dir", &layout.at("etc").display()),
        flag("token-auth-file", &layout.at("etc/tokens.csv").display()),
        flag("authorization-mode", &"Node,RBAC"),
        flag("service-account-issuer", &"https://kubernetes.default.svc"),
        flag("service-account-key-file", &service_account_public_key(layout).display()),
        flag("service-account-signing-key-file", &service_account_key(layout).display()),
        flag("service-cluster-ip-range", &SERVICE_RANGE),
        flag("kubelet-preferred-address-types", &"InternalIP"),
    ]
}

fn controller_manager(layout: &Layout) -> Vec<String> {
    let kubeconfig = client_configuration(layout, "kube-controller-manager");
    vec![
        flag("kubeconfig", &kubeconfig.display()),
        flag("authentication-kubeconfig", &kubeconfig.display()),
        flag("authorization-kubeconfig", &kubeconfig.display()),
        flag("bind-address", &"127.0.0.1"),
        flag("secure-port", &ports::CONTROLLER_MANAGER),
        flag("leader-elect", &false),
        flag("use-service-account-credentials", &true),
        // The usual limits delay the start by seconds; they protect API servers that are shared.
        flag("kube-api-qps", &500),
        flag("kube-api-burst", &1000),
        flag("service-account-private-key-file", &service_account_key(layout).display()),
        flag("root-ca-file", &layout.at("etc/apiserver.crt").display()),
    ]
}

fn scheduler(layout: &Layout) -> Vec<String> {
    let kubeconfig = client_configuration(layout, "kube-scheduler");
    vec![
        flag("kubeconfig", &kubeconfig.display()),
        flag("authentication-kubeconfig", &kubeconfig.display()),
        flag("authorization-kubeconfig", &kubeconfig.display()),
        flag("bind-address", &"127.0.0.1"),
        flag("secure-port", &ports::SCHEDULER),
        flag("leader-elect", &false),
    ]
}

fn kubelet(layout: &Layout) -> Vec<String> {
    vec![
        flag("config", &layout.at("etc/kubelet.yaml").display()),
        flag("kubeconfig", &client_configuration(layout, "kubelet").display()),
        flag("root-dir", &layout.at("kubelet").display()),
        flag("cert-dir", &layout.at("kubelet/pki").display()),
        flag("hostname-override", &NODE),
        flag("node-ip", &ADDRESS),
    ]
}
