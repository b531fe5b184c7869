//! Running an instance: listeners, housekeeping, signals, drain.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use listenfd::ListenFd;
use revenprox_mesh::identity::Address;
use sd_notify::NotifyState;
use tokio::{
    net::{TcpListener, TcpSocket},
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{Server, lifecycle::HAND_OVER_TIME, setup::SetupError};
use crate::{
    config::Config,
    edge::{
        ingest::Ingest,
        listener::{self, Speaks},
        tls::{TlsError, TlsIdentity},
    },
    governor,
    mesh::{Mesh, MeshError},
};

/// Connections that wait to be accepted while a herd reconnects.
const BACKLOG: u32 = 4096;

/// How often one stripe of the topics is swept; all of them take 64 times as long.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// How long the last answers may take once streams are gone.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// How long other instances are given to take the last events, and to hear that this one ends. If they do not, they
/// find it silent.
const LEAVE_TIME: Duration = Duration::from_millis(100);

/// How often it is looked whether everybody has gone.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A drain is reported on once in so many looks: every five seconds.
const REPORT_POLLS: u32 = 100;

/// How long an instance that has drained stays to turn away those who come back.
const LINGER_MIN: Duration = Duration::from_millis(1_500);
const LINGER_MAX: Duration = Duration::from_secs(5);

/// Why an instance ended, other than on request.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It cannot be set up as configured.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The TLS listener cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The mesh cannot be set up.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] io::Error),
}

/// Serves until a signal ends it. `changes` brings changed configurations, the first one being the one in force;
/// `serving` is told the address for clients once it is listened on.
pub async fn run(
    server: Arc<Server>,
    mut changes: watch::Receiver<Arc<Config>>,
    serving: impl FnOnce(SocketAddr),
) -> Result<(), RunError> {
    let config = server.config();
    let mut sockets = Sockets::inherited();
    let mut tasks = JoinSet::new();
    if let Some(nng) = &config.nng {
        let (mesh, driver) = Mesh::start(&config, nng).await?;
        server.join(Arc::clone(&mesh));
        let settling = Arc::clone(&mesh);
        let meeting = Duration::from_millis(config.discovery.ready_timeout_ms);
        let history = Duration::from_millis(config.history.ready_timeout_ms);
        tasks.spawn(async move { settling.settle(meeting, history).await });
        tasks.spawn(Arc::clone(&mesh).look_again(Arc::clone(&server.hub)));
        tasks.spawn(mesh.hand_over(Arc::clone(&server.hub)));
        let revoking = Arc::clone(&server);
        let revoke = move |claim, until_ms| {
            // If there is no room, it is counted there.
            let _ = revoking.revoke_here(claim, until_ms);
        };
        tasks.spawn(driver.run(Arc::clone(&server.hub), revoke));
    }
    if let Some(address) = &config.publish.nng_listen {
        let address = Address::new(address).map_err(MeshError::Address)?;
        let ingest = Ingest::listen(&address).map_err(MeshError::Transport)?;
        tasks.spawn(ingest.run(Arc::clone(&server)));
    }
    let plain = sockets.listen(config.http.bind_address)?;
    let address = plain.local_addr().unwrap_or(config.http.bind_address);
    tasks.spawn(listener::run(Arc::clone(&server), plain, Speaks::Plain));
    let tls = config.tls.as_ref().map(TlsIdentity::load).transpose()?;
    if let (Some(tls), Some(identity)) = (&config.tls, &tls) {
        let listener = sockets.listen(tls.bind_address)?;
        tasks.spawn(listener::run(Arc::clone(&server), listener, Speaks::Tls(Arc::clone(identity))));
    }
    if let Some(address) = config.admin.bind_address {
        tasks.spawn(listener::run(Arc::clone(&server), sockets.listen(address)?, Speaks::Admin));
    }
    tasks.spawn(sweep_topics(Arc::clone(&server)));
    tasks.spawn(governor::run(Arc::clone(&server)));
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    serving(address);
    tracing::info!(%address, tls = config.tls.is_some(), "serving");
    notify(&[NotifyState::Ready]);
    loop {
        select! {
            () = signals.end() => break,
            news = changes.changed() => match news {
                Ok(()) => reconfigure(&server, &changes.borrow_and_update(), tls.as_deref()),
                // Nobody watches the file any more; what is in force stays.
                Err(_) => break signals.end().await,
            },
        }
    }
    notify(&[NotifyState::Stopping]);
    select! {
        () = drain(&server) => {}
        () = signals.end() => tracing::warn!("second signal: ending at once"),
    }
    server.close();
    if timeout(CLOSE_TIME, answered(&server)).await.is_err() {
        tracing::warn!(
            connections = server.open_connections.load(Ordering::SeqCst),
            "some answers were not finished"
        );
    }
    if let Some(mesh) = server.mesh() {
        // What was accepted to the last moment goes first: from somebody who has left nothing is taken.
        sleep(LEAVE_TIME).await;
        mesh.leave();
        sleep(LEAVE_TIME).await;
    }
    tasks.shutdown().await;
    let server = Arc::clone(&server);
    // Joining threads blocks, if shortly.
    let _ = tokio::task::spawn_blocking(move || server.delivery.stop()).await;
    tracing::info!("ended");
    Ok(())
}

fn reconfigure(server: &Server, config: &Arc<Config>, tls: Option<&TlsIdentity>) {
    server.reconfigure(Arc::clone(config));
    if let (Some(settings), Some(identity)) = (&config.tls, tls)
        && let Err(error) = identity.reload(settings)
    {
        tracing::error!(%error, "the TLS listener keeps its old certificate");
    }
}

/// Ends all streams over the drain window, then stays to turn away those who come back.
async fn drain(server: &Arc<Server>) {
    let streams = server.admission.connections();
    server.start_drain();
    let config = server.config();
    let window = HAND_OVER_TIME + Duration::from_secs(config.http.drain_window_sec) + CLOSE_TIME;
    let gone = async {
        for polls in 1_u32.. {
            let left = server.admission.connections();
            if left == 0 {
                return;
            }
            if polls.is_multiple_of(REPORT_POLLS) {
                tracing::info!(left, of = streams, "still draining");
            }
            sleep(POLL_INTERVAL).await;
        }
    };
    if timeout(window, gone).await.is_err() {
        tracing::warn!(left = server.admission.connections(), "the drain window is over");
    }
    // Without a window nobody is to be waited for.
    if streams > 0 && config.http.drain_window_sec > 0 {
        // The last ones come back after one and a half times the delay at most.
        let linger = Duration::from_millis(config.http.retry_ms) * 3 / 2;
        sleep(linger.clamp(LINGER_MIN, LINGER_MAX)).await;
    }
}

async fn answered(server: &Server) {
    while server.open_connections.load(Ordering::SeqCst) > 0 {
        sleep(POLL_INTERVAL).await;
    }
}

async fn sweep_topics(server: Arc<Server>) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for step in 0_usize.. {
        ticks.tick().await;
        server.hub.sweep(step);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    // Without a service manager this does nothing.
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// The signals that end an instance.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Sockets handed over by a service manager (systemd's socket activation), used before own ones are made.
struct Sockets {
    inherited: ListenFd,
    next: usize,
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

// === impl Sockets ===

impl Sockets {
    fn inherited() -> Self {
        Self { inherited: ListenFd::from_env(), next: 0 }
    }

    /// The next inherited socket, in the order of the configuration's listeners, or a new one.
    fn listen(&mut self, address: SocketAddr) -> Result<TcpListener, RunError> {
        let fail = |source| RunError::Listen { address, source };
        if self.next < self.inherited.len() {
            let inherited = self.inherited.take_tcp_listener(self.next).map_err(fail)?;
            self.next += 1;
            if let Some(listener) = inherited {
                listener.set_nonblocking(true).map_err(fail)?;
                return TcpListener::from_std(listener).map_err(fail);
            }
        }
        let socket =
            if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(fail)?;
        socket.set_reuseaddr(true).map_err(fail)?;
        socket.bind(address).map_err(fail)?;
        socket.listen(BACKLOG).map_err(fail)
    }
}
