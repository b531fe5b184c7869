//! Accepting connections.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    select,
    time::{sleep, timeout},
};

use super::{
    client_address::is_trusted,
    connection::{serve_admin, serve_plain, serve_tls},
    proxy_protocol,
    tls::TlsIdentity,
    turn_away::Passing,
};
use crate::{config::Http, server::Server};

/// How long to wait after an accept that failed for a reason that does not pass by itself.
const FAILURE_PAUSE: Duration = Duration::from_millis(50);

/// How long a client that is refused at once may take to read the answer.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// The answer where there is no descriptor to serve a connection with.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

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
    loop {
        let accepted = select! {
            biased;
            () = server.closing() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(open) = Open::new(&server) else {
                    tokio::spawn(refuse(stream));
                    continue;
                };
                configure(&stream, &server.config().http);
                let (server, speaks) = (Arc::clone(&server), Arc::clone(&speaks));
                tokio::spawn(async move {
                    serve(server, stream, peer.ip().to_canonical(), &speaks).await;
                    drop(open);
                });
            }
            Err(error) => recover(&error, &listener, &spare, &server).await,
        }
    }
}

async fn serve(server: Arc<Server>, mut stream: TcpStream, peer: IpAddr, speaks: &Speaks) {
    let config = server.config();
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
        Speaks::Plain => serve_plain(server, stream, client).await,
        Speaks::Admin => serve_admin(server, stream, client).await,
        Speaks::Tls(identity) => match timeout(time, identity.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                serve_tls(server, stream, client, http2).await;
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
async fn recover(error: &io::Error, listener: &TcpListener, spare: &Spare, server: &Server) {
    match Errno::from_io_error(error) {
        Some(Errno::CONNABORTED | Errno::INTR | Errno::PERM) => {}
        Some(Errno::MFILE | Errno::NFILE) => {
            server.refusals.count(Passing::Descriptors);
            spare.release();
            match timeout(FAILURE_PAUSE, listener.accept()).await {
                Ok(Ok((stream, _))) => refuse(stream).await,
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

async fn refuse(mut stream: TcpStream) {
    let _ = timeout(REFUSAL_TIME, async {
        stream.write_all(FULL).await?;
        stream.shutdown().await
    })
    .await;
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
