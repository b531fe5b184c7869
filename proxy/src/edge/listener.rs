//! Accepting connections.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    client_address::is_trusted,
    connection::{serve_plain, serve_tls},
    link::Purpose,
    proxy_protocol,
    tls::TlsIdentity,
    turn_away::Passing,
};
use crate::{config::Http, server::Server};

/// How long to wait after an accept that failed for a reason that does not pass by itself.
const FAILURE_PAUSE: Duration = Duration::from_millis(50);

/// How long a client that is turned away for want of descriptors may take to ask and to read the answer.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// How many of them are answered at a time, from the descriptors that are kept for other things; others
/// wait to be accepted.
const REFUSALS_AT_ONCE: usize = 16;

/// What a listener speaks.
pub enum Speaks {
    /// Plain text.
    Plain,
    /// Plain text, to administrators.
    Admin,
    /// TLS.
    Tls(Arc<TlsIdentity>),
}

/// A descriptor kept for refusing politely when there are no others.
struct Spare(Mutex<Option<std::fs::File>>);

/// Counts a connection while it is with hyper.
struct Open(Arc<Server>);

/// Accepts until the server closes.
pub async fn run(server: Arc<Server>, listener: TcpListener, speaks: Speaks) {
    let speaks = Arc::new(speaks);
    let spare = Spare::new();
    let purpose = if matches!(*speaks, Speaks::Admin) { Purpose::Administer } else { Purpose::Serve };
    let refusals = Arc::new(Semaphore::new(REFUSALS_AT_ONCE));
    loop {
        let accepted = select! {
            biased;
            () = server.closing() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                configure(&stream, &server.config().http);
                let (server, speaks) = (Arc::clone(&server), Arc::clone(&speaks));
                if let Some(open) = Open::new(&server) {
                    tokio::spawn(async move {
                        serve(server, stream, peer, &speaks, purpose).await;
                        drop(open);
                    });
                } else if let Ok(permit) = Arc::clone(&refusals).acquire_owned().await {
                    tokio::spawn(async move {
                        turn_away(server, stream, peer, &speaks).await;
                        drop(permit);
                    });
                }
            }
            Err(error) => recover(&error, &listener, &spare, &server, &speaks).await,
        }
    }
}

async fn serve(
    server: Arc<Server>,
    mut stream: TcpStream,
    peer: SocketAddr,
    speaks: &Speaks,
    purpose: Purpose,
) {
    let config = server.config();
    let peer = peer.ip().to_canonical();
    let time = Duration::from_secs(config.http.header_timeout_sec);
    let mut client = peer;
    if config.http.proxy_protocol && is_trusted(peer, &config.http) {
        match timeout(time, proxy_protocol::read(&mut stream)).await {
            Ok(Ok(named)) => client = named.unwrap_or(peer),
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "no PROXY protocol header"),
            Err(_) => return tracing::debug!(%peer, "the PROXY protocol header took too long"),
        }
    }
    match speaks {
        Speaks::Plain | Speaks::Admin => serve_plain(server, stream, client, purpose).await,
        Speaks::Tls(identity) => match timeout(time, identity.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                serve_tls(server, stream, client, purpose, http2).await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
        },
    }
}

/// Makes events leave at once and dead peers noticed.
fn configure(stream: &TcpStream, http: &Http) {
    let _ = stream.set_nodelay(true);
    if http.connection_timeout_sec > 0 {
        // How long sent data may stay unacknowledged; keepalive comments make sure that there is some.
        let time = Duration::from_secs(http.connection_timeout_sec);
        let _ = SockRef::from(stream).set_tcp_user_timeout(Some(time));
    }
}

/// An accept has failed. Without descriptors the connection would wait in the kernel and be reported again at
/// once, so one that was kept for this is used to take it and say no.
async fn recover(
    error: &io::Error,
    listener: &TcpListener,
    spare: &Spare,
    server: &Arc<Server>,
    speaks: &Speaks,
) {
    match Errno::from_io_error(error) {
        Some(Errno::CONNABORTED | Errno::INTR | Errno::PERM) => {}
        Some(Errno::MFILE | Errno::NFILE) => {
            server.refusals.count(Passing::Descriptors);
            spare.release();
            match timeout(FAILURE_PAUSE, listener.accept()).await {
                Ok(Ok((stream, peer))) => turn_away(Arc::clone(server), stream, peer, speaks).await,
                // Somebody else has got the spare one, and the connection still waits.
                Ok(Err(_)) => sleep(FAILURE_PAUSE).await,
                Err(_) => {}
            }
            spare.take();
        }
        _ => {
            tracing::warn!(%error, "accepting a connection failed");
            sleep(FAILURE_PAUSE).await;
        }
    }
}

/// Answers somebody for whom there is no descriptor: a browser has to hear that it should come back, and when.
async fn turn_away(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, speaks: &Speaks) {
    let _ = timeout(REFUSAL_TIME, serve(server, stream, peer, speaks, Purpose::TurnAway)).await;
}

// === impl Spare ===

impl Spare {
    fn new() -> Self {
        let spare = Self(Mutex::new(None));
        spare.take();
        spare
    }

    fn take(&self) {
        let mut spare = self.0.lock();
        if spare.is_none() {
            *spare = std::fs::File::open("/dev/null").ok();
        }
    }

    fn release(&self) {
        self.0.lock().take();
    }
}

// === impl Open ===

impl Open {
    fn new(server: &Arc<Server>) -> Option<Self> {
        let open = server.open_connections.fetch_add(1, Ordering::SeqCst);
        let taken = open + usize::try_from(server.admission.connections()).unwrap_or(usize::MAX);
        let this = Self(Arc::clone(server));
        if taken < server.descriptors_for_connections() {
            return Some(this);
        }
        server.refusals.count(Passing::Descriptors);
        None
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_connections.fetch_sub(1, Ordering::SeqCst);
    }
}
