//! The names, addresses and places of the cluster, in one place, because tear-down has to find
//! everything that bring-up made.

use std::path::{Path, PathBuf};

/// Where the cluster's state is unless `REVENPROX_E2E_STATE` names another folder.
pub const DEFAULT_STATE: &str = "/var/lib/revenprox-e2e";

/// Name of the one node.
pub const NODE: &str = "e2e";
/// The bridge that pods are attached to.
pub const BRIDGE: &str = "rpx-e2e0";
/// Address of the bridge, which is the node's address and the API server's.
pub const ADDRESS: &str = "10.244.0.1";
/// Addresses of pods.
pub const POD_RANGE: &str = "10.244.0.0/24";
/// Addresses of Services.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
/// Address of the Service `kubernetes`, the first of that range.
pub const API_SERVICE: &str = "10.96.0.1";
/// Folder below each cgroup hierarchy that holds every pod.
pub const CGROUP: &str = "revenprox-e2e";
/// Tables that kube-proxy makes, as family and name.
pub const NFT_TABLES: [(&str, &str); 2] = [("ip", "kube-proxy"), ("ip6", "kube-proxy")];
/// containerd's namespace for what the kubelet asks for.
pub const CONTAINERD_NAMESPACE: &str = "k8s.io";
/// The image that holds a pod's namespaces.
pub const PAUSE_IMAGE: &str = "localhost/revenprox/pause:dev";

/// Ports, none of them the usual one, so that a Kubernetes of the machine's own is not in the way.
pub mod ports {
    /// API server, on the bridge's address.
    pub const API: u16 = 16443;
    /// etcd for clients, on loopback.
    pub const ETCD: u16 = 12379;
    /// etcd for peers, of which there are none, on loopback.
    pub const ETCD_PEER: u16 = 12380;
    /// Controller manager, on loopback.
    pub const CONTROLLER_MANAGER: u16 = 11257;
    /// Scheduler, on loopback.
    pub const SCHEDULER: u16 = 11259;
    /// Kubelet, on the bridge's address.
    pub const KUBELET: u16 = 11250;
    /// Kubelet's health, on loopback.
    pub const KUBELET_HEALTH: u16 = 11248;
    /// kube-proxy's health, on loopback.
    pub const PROXY_HEALTH: u16 = 11256;
    /// kube-proxy's metrics, on loopback.
    pub const PROXY_METRICS: u16 = 11249;
}

/// Places on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    state: PathBuf,
    cache: PathBuf,
}

/// A place that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayoutError {
    /// The state folder is not usable.
    #[error(
        "state folder {0:?} must be absolute, at least two levels deep, plain letters, digits, `-`, `_`, `.` and `/`, \
         and at most 60 bytes long (sockets are below it); set REVENPROX_E2E_STATE to another"
    )]
    State(PathBuf),
    /// There is no place for a cache.
    #[error(
        "neither XDG_CACHE_HOME nor HOME is set to an absolute path; set one, built programs are kept there"
    )]
    Cache,
}

// === impl Layout ===

impl Layout {
    /// Places from the environment: `REVENPROX_E2E_STATE`, `XDG_CACHE_HOME` and `HOME`.
    pub fn from_env() -> Result<Self, LayoutError> {
        Self::new(|name| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty())
        })
    }

    fn new(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, LayoutError> {
        let state = variable("REVENPROX_E2E_STATE").unwrap_or_else(|| PathBuf::from(DEFAULT_STATE));
        if !is_usable_state(&state) {
            return Err(LayoutError::State(state));
        }
        let cache = variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .filter(|path| path.is_absolute())
            .ok_or(LayoutError::Cache)?;
        Ok(Self { state, cache: cache.join("revenprox") })
    }

    /// The folder with everything the running cluster keeps; tear-down removes it.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// A file or folder of the running cluster.
    pub fn at(&self, relative: &str) -> PathBuf {
        self.state.join(relative)
    }

    /// The folder for built programs, which outlives clusters.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The configuration with which kubectl and tests reach the cluster as its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.at("kubeconfig")
    }

    /// containerd's socket.
    pub fn containerd_socket(&self) -> PathBuf {
        self.at("run/containerd.sock")
    }

    /// Fills the placeholders of a configuration file.
    pub fn fill(&self, template: &str, more: &[(&str, &str)]) -> String {
        let state = self.state.to_string_lossy();
        let numbers = [
            ("@KUBELET_PORT@", ports::KUBELET),
            ("@KUBELET_HEALTH_PORT@", ports::KUBELET_HEALTH),
            ("@PROXY_HEALTH_PORT@", ports::PROXY_HEALTH),
            ("@PROXY_METRICS_PORT@", ports::PROXY_METRICS),
        ]
        .map(|(name, port)| (name, port.to_string()));
        let names = [
            ("@STATE@", state.as_ref()),
            ("@NODE@", NODE),
            ("@BRIDGE@", BRIDGE),
            ("@ADDRESS@", ADDRESS),
            ("@POD_RANGE@", POD_RANGE),
            ("@CGROUP@", CGROUP),
            ("@PAUSE@", PAUSE_IMAGE),
        ];
        let numbers = numbers.iter().map(|(name, port)| (*name, port.as_str()));
        names
            .into_iter()
            .chain(numbers)
            .chain(more.iter().copied())
            .fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// A folder that tear-down may remove whole, and whose name is safe in configuration files.
fn is_usable_state(state: &Path) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let normal = state.components().skip(1).all(|part| matches!(part, std::path::Component::Normal(_)));
    let bytes = state.as_os_str().as_encoded_bytes();
    state.is_absolute()
        && state.components().count() > 2
        && normal
        && bytes.len() <= 60
        && bytes.iter().copied().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(variables: &[(&str, &str)]) -> Result<Layout, LayoutError> {
        Layout::new(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value))
        })
    }

    #[test]
    fn defaults_and_overrides() {
        let default = layout(&[("HOME", "/home/x")]).unwrap();
        assert_eq!(default.state(), Path::new(DEFAULT_STATE));
        assert_eq!(default.cache(), Path::new("/home/x/.cache/revenprox"));
        let other =
            layout(&[("REVENPROX_E2E_STATE", "/tmp/x"), ("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]).unwrap();
        assert_eq!((other.state(), other.cache()), (Path::new("/tmp/x"), Path::new("/c/revenprox")));
        assert_eq!(layout(&[]), Err(LayoutError::Cache));
    }

    #[test]
    fn a_state_folder_that_must_not_be_removed_is_refused() {
        let long = format!("/tmp/{}", "x".repeat(60));
        for bad in ["relative", "/", "/var", "/var/lib/../..", "/var/with space", &long] {
            let result = layout(&[("REVENPROX_E2E_STATE", bad), ("HOME", "/h")]);
            assert_eq!(result, Err(LayoutError::State(PathBuf::from(bad))), "{bad}");
        }
    }

    #[test]
    fn templates_are_filled_completely() {
        let layout = layout(&[("HOME", "/home/x")]).unwrap();
        let templates = [
            include_str!("../../cluster/config/containerd.toml"),
            include_str!("../../cluster/config/pods.conflist"),
            include_str!("../../cluster/config/kubelet.yaml"),
            include_str!("../../cluster/config/kube-proxy.yaml"),
        ];
        for template in templates {
            let text = layout.fill(template, &[("@CNI_BIN@", "/usr/lib/cni")]);
            assert!(!text.contains('@'), "{text}");
        }
    }
}
