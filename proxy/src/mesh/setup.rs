//! From a configuration to a running mesh.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use revenprox_mesh::{
    discovery::{self, Discovery, DiscoveryError},
    identity::{Address, AddressError, Session},
    link::Bounds,
    node::{Node, Settings},
    seal::{KeyError, Keyring, Opener, Sealer},
    transport::{self, Event, Transport, TransportError},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

use super::{
    Driver, Mesh, advertise, driver::Counts, fetching::Fetching, handover::Moves, questions::Questions,
    repair::Late, settling::Settling, sockets::Sockets,
};
use crate::{
    config::{Config, Nng},
    hub::now_ms,
};

/// How long an answer of another instance may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that may wait for one instance.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Why there is no mesh.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// Something is wrong with the sockets.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Something is wrong with the key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Others cannot be found as configured.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// An address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
}

// === impl Mesh ===

impl Mesh {
    /// Sets the mesh up. It does nothing until the driver runs. Must be called within a Tokio runtime.
    pub async fn start(config: &Config, nng: &Nng) -> Result<(Arc<Self>, Driver), MeshError> {
        let keyring = keyring(nng)?;
        if !keyring.seals() && !nng.is_local() {
            tracing::warn!("the mesh is insecure: whoever reaches its port can read and publish everything");
        }
        let listen = addresses(&nng.listen_addresses)?;
        let session = Session { incarnation: now_ms(), salt: random() };
        let node = Node::new(settings(config, nng, advertise::addresses(nng)?), session);
        let sockets = transport::Settings {
            inbox: nng.sub_buffer_size,
            reconnect_max: Duration::from_millis(nng.reconnect_interval_ms),
            request_timeout: REQUEST_TIMEOUT,
        };
        let (transport, events) = Transport::start(&listen, sockets)?;
        let discovery = Discovery::start(sources(config, nng)?).await?;
        Ok(Self::assemble(node, session, keyring, Box::new(transport), events, discovery))
    }

    /// Puts the parts together.
    pub(crate) fn assemble(
        node: Node,
        session: Session,
        keyring: Keyring,
        sockets: Box<dyn Sockets>,
        events: mpsc::Receiver<Event>,
        discovery: Discovery,
    ) -> (Arc<Self>, Driver) {
        let opener = Opener::new(keyring.clone(), node.id());
        let mesh = Arc::new(Self {
            discovery,
            sealer: Mutex::new(Sealer::new(keyring, node.id(), session)),
            node: Mutex::new(node),
            sockets,
            started: Instant::now(),
            wake: Notify::new(),
            effective: watch::Sender::new(u64::MAX),
            questions: Questions::default(),
            fetching: Fetching::default(),
            moves: Moves::default(),
            late: Late::default(),
            settling: Settling::default(),
            counts: Counts::default(),
        });
        let driver = Driver::new(Arc::clone(&mesh), events, opener);
        (mesh, driver)
    }
}

fn settings(config: &Config, nng: &Nng, addresses: Vec<Address>) -> Settings {
    let state = &config.distributed_state;
    Settings {
        name: config.instance_name(),
        addresses,
        heartbeat: Duration::from_secs(nng.heartbeat_interval_sec),
        peer_timeout: Duration::from_secs(state.peer_timeout_sec),
        gossip: Duration::from_secs(state.gossip_interval_sec),
        forget_after: Duration::from_secs(state.vector_clock_cleanup_interval_sec),
        link: Bounds {
            queue_events: nng.pub_buffer_size,
            queue_bytes: QUEUE_BYTES,
            queue_control: state.max_subscription_events,
            batch_frames: nng.message_batch_size,
            batch_delay: Duration::from_millis(nng.message_batch_timeout_ms),
        },
        interest_capacity: state.bloom_filter_capacity,
        interest_fpr: state.bloom_filter_fpr,
        keepers: if config.history.is_on() { config.history.keepers } else { 0 },
        members_max: nng.max_peers,
    }
}

fn sources(config: &Config, nng: &Nng) -> Result<discovery::Settings, AddressError> {
    let found = &config.discovery;
    Ok(discovery::Settings {
        fixed: addresses(&nng.peer_addresses)?,
        dns: found.dns_name.clone().map(|name| discovery::Dns {
            name,
            port: found.dns_port,
            interval: Duration::from_secs(found.dns_interval_sec),
            servers: found.dns_servers.clone(),
        }),
        kubernetes: found.kubernetes_service.clone().map(|service| discovery::Kubernetes {
            service,
            namespace: found.kubernetes_namespace.clone(),
            port: found.kubernetes_port.clone(),
        }),
    })
}

fn keyring(nng: &Nng) -> Result<Keyring, KeyError> {
    let previous = nng.previous_key_file.as_deref();
    match (&nng.key_file, &nng.key) {
        (Some(file), _) => Keyring::from_files(file, previous),
        (None, Some(key)) => {
            let read = |file: &str| std::fs::read_to_string(file).map_err(|e| KeyError::File(file.into(), e));
            Keyring::new(key.expose(), previous.map(read).transpose()?.as_deref())
        }
        (None, None) => Ok(Keyring::open()),
    }
}

fn addresses(texts: &[String]) -> Result<Vec<Address>, AddressError> {
    texts.iter().map(|text| Address::new(text)).collect()
}

fn random() -> u64 {
    getrandom::u64().expect("the operating system has a source of randomness")
}
