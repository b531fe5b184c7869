//! Finding other instances: by a list, by DNS, by the `EndpointSlices` of a Kubernetes Service, or by several of these.
//!
//! Each source says its complete list anew whenever that changes, and the lists together are what is told. A
//! source that fails keeps its last list: to dial an instance that is gone costs little, to lose one that is there costs
//! its events. Which of the addresses is this instance itself the node finds out.

mod dns;
#[cfg(feature = "kubernetes")]
mod endpoints;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod lists;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};

use self::lists::{Lists, Source};
use crate::identity::Address;

/// How many addresses of one source are taken; what is beyond is counted.
pub const ADDRESSES_MAX: usize = 8192;

/// Where to look.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Addresses that are always there.
    pub fixed: Vec<Address>,
    /// A name to look up.
    pub dns: Option<Dns>,
    /// A Service to watch.
    pub kubernetes: Option<Kubernetes>,
}

/// A name in the DNS.
#[derive(Clone, Debug)]
pub struct Dns {
    /// The name. One that begins with an underscore has SRV records (RFC 2782), any other A and AAAA records. It is
    /// completed as `/etc/resolv.conf` says, unless it ends with a dot.
    pub name: String,
    /// The port that goes with A and AAAA records.
    pub port: u16,
    /// How often it is looked up. Up to a tenth is added at random, so that instances do not ask all at once.
    pub interval: Duration,
    /// The servers to ask; if there are none, those of `/etc/resolv.conf`, which is read each time.
    pub servers: Vec<SocketAddr>,
}

/// A Service of a Kubernetes cluster, headless or not.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// Its name.
    pub service: String,
    /// Its namespace; if there is none, that of this pod.
    pub namespace: Option<String>,
    /// The name of its port for the mesh.
    pub port: String,
}

/// Why nothing can be discovered as configured.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// No name.
    #[error("discovery.dns_name {name:?} is no name in the DNS: {why}")]
    Name {
        /// The text.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// No access to a cluster.
    #[cfg(feature = "kubernetes")]
    #[error(
        "discovery.kubernetes_service needs a Kubernetes API: {0}; in a pod, automountServiceAccountToken must be on"
    )]
    Cluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Built without it.
    #[cfg(not(feature = "kubernetes"))]
    #[error("discovery.kubernetes_service is set, but this program was built without the feature kubernetes")]
    NotBuilt,
}

/// What discovery has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Addresses that are told.
    pub addresses: usize,
    /// Lists that sources have given.
    pub answers: u64,
    /// Times that a source failed and its last list stayed.
    pub failures: u64,
    /// Addresses that were not taken because there were more than [`ADDRESSES_MAX`] or they were none.
    pub refused: u64,
}

/// Runs until it is dropped.
pub struct Discovery {
    lists: Arc<Lists>,
    tasks: JoinSet<()>,
}

// === impl Discovery ===

impl Discovery {
    /// Begins to look. Must be called within a Tokio runtime. Fails only for what waiting does not cure.
    #[cfg(feature = "kubernetes")]
    pub async fn start(settings: Settings) -> Result<Self, DiscoveryError> {
        let client = match settings.kubernetes {
            Some(_) => Some(kubernetes::client().await?),
            None => None,
        };
        Self::start_with(settings, client)
    }

    /// As [`start`](Self::start), with a client of the cluster.
    #[cfg(feature = "kubernetes")]
    pub fn start_with(mut settings: Settings, client: Option<kube::Client>) -> Result<Self, DiscoveryError> {
        let service = settings.kubernetes.take();
        let mut discovery = Self::without_kubernetes(settings)?;
        if let Some((service, client)) = service.zip(client) {
            let watch = kubernetes::Watch::new(service, client);
            discovery.lists.expect(Source::Kubernetes);
            discovery.tasks.spawn(watch.run(Arc::clone(&discovery.lists)));
        }
        Ok(discovery)
    }

    /// Begins to look. Must be called within a Tokio runtime. Fails only for what waiting does not cure.
    #[cfg(not(feature = "kubernetes"))]
    #[allow(clippy::unused_async, reason = "it waits where there is the feature kubernetes")]
    pub async fn start(settings: Settings) -> Result<Self, DiscoveryError> {
        if settings.kubernetes.is_some() {
            return Err(DiscoveryError::NotBuilt);
        }
        Self::without_kubernetes(settings)
    }

    fn without_kubernetes(settings: Settings) -> Result<Self, DiscoveryError> {
        let mut discovery = Self { lists: Arc::new(Lists::default()), tasks: JoinSet::new() };
        discovery.lists.set(Source::Fixed, settings.fixed);
        if let Some(dns) = settings.dns {
            discovery.lists.expect(Source::Dns);
            discovery.tasks.spawn(dns::Watch::new(dns)?.run(Arc::clone(&discovery.lists)));
        }
        Ok(discovery)
    }

    /// The complete list, sorted and each address once, whenever it changes. It stays open while this lives.
    pub fn addresses(&self) -> watch::Receiver<Vec<Address>> {
        self.lists.subscribe()
    }

    /// Whether every source has given a list.
    pub fn has_answered(&self) -> bool {
        self.lists.have_answered()
    }

    /// What it has done.
    pub fn stats(&self) -> Stats {
        self.lists.stats()
    }
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Discovery")
    }
}
