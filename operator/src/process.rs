//! The life of the operator's process: connect, wait for the lease, look after clusters, end.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use kube::{Client, Config};
use tokio::{
    net::TcpListener,
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    admin::{self, Health},
    cli::RunArgs,
    controller::{self, Scope},
    lease::{Candidate, Lost},
    metrics::Metrics,
    validate::Defaults,
};

/// Why the operator ended, other than on request.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no way to an API server.
    #[error("cannot tell how to reach the API server: {0}; outside of a pod, set KUBECONFIG")]
    Config(#[from] kube::config::InferConfigError),
    /// The client cannot be set up.
    #[error("cannot connect to the API server: {0}")]
    Client(#[from] kube::Error),
    /// Probes cannot be answered.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] io::Error),
    /// Another operator may act now.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The watches ended, which they never do by themselves.
    #[error("the controllers have ended")]
    Ended,
}

/// Looks after clusters until a signal ends it.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    let mut config = Config::infer().await?;
    // Reconciles and the lease are tried again by themselves, with pauses of their own.
    config.default_retry = false;
    let namespace = args.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config)?;
    let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::new()));
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.map_err(|source| RunError::Listen { address: args.listen, source })?;
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let admin = tokio::spawn(admin::serve(listener, Arc::clone(&health), Arc::clone(&metrics)));

    let identity = args.identity();
    let mut candidate = Candidate::new(client.clone(), &namespace, &args.lease, &identity);
    health.stands_by.store(true, Ordering::Relaxed);
    tracing::info!(identity, lease = args.lease, namespace, "waiting for the lease");
    select! {
        () = candidate.acquire() => {}
        () = signals.end() => return Ok(()),
    }
    health.stands_by.store(false, Ordering::Relaxed);
    metrics.lead(true);
    tracing::info!(identity, "leading");

    let (stop, stopped) = watch::channel(false);
    let scope = Scope {
        namespaces: args.namespaces(),
        instance: identity,
        defaults: Defaults { image: args.proxy_image.clone(), namespace },
    };
    let controllers = controller::run(client, scope, health, metrics, stopped);
    tokio::pin!(controllers);
    select! {
        () = &mut controllers => return Err(RunError::Ended),
        lost = candidate.keep() => return Err(lost.into()),
        () = signals.end() => {}
    }
    tracing::info!("ending");
    stop.send_replace(true);
    select! {
        () = &mut controllers => {}
        lost = candidate.keep() => return Err(lost.into()),
        () = signals.end() => tracing::warn!("second signal: ending at once"),
    }
    candidate.release().await;
    admin.abort();
    Ok(())
}

/// The signals that end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl Signals ===

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn end(&mut self) {
        select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
