//! The listener for probes and metrics of the operator itself.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use crate::metrics::Metrics;

/// How many connections are served at a time; more wait.
const CONNECTIONS_MAX: usize = 64;

/// How long a connection may last.
const CONNECTION_LIMIT: Duration = Duration::from_mins(1);

/// How the operator is.
#[derive(Debug, Default)]
pub struct Health {
    /// Whether another process acts and this one waits.
    pub stands_by: AtomicBool,
    /// Whether everything that there is has been seen once.
    pub has_seen: AtomicBool,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, health: Arc<Health>, metrics: Arc<Metrics>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of a probe");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (health, metrics) = (Arc::clone(&health), Arc::clone(&metrics));
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, &health, &metrics);
                async { Ok::<_, Infallible>(answer) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(5));
            let connection = server.serve_connection(TokioIo::new(socket), service);
            // Whoever asks sees for himself that the connection has broken.
            let _ = timeout(CONNECTION_LIMIT, connection).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "ok\n".into()),
        "/readyz" => ready(health),
        "/metrics" => match metrics.render() {
            Ok(text) => (StatusCode::OK, text.into()),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into()),
        },
        _ => (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".into()),
    };
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    response
}

fn ready(health: &Health) -> (StatusCode, Bytes) {
    if health.stands_by.load(Ordering::Relaxed) {
        (StatusCode::OK, "another one leads\n".into())
    } else if health.has_seen.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n".into())
    } else {
        let text = "not everything has been seen yet; is the CustomResourceDefinition installed?\n";
        (StatusCode::SERVICE_UNAVAILABLE, text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_it_has_seen_everything_or_another_one_leads() {
        let health = Health::default();
        assert_eq!(ready(&health).0, StatusCode::SERVICE_UNAVAILABLE);
        health.stands_by.store(true, Ordering::Relaxed);
        assert_eq!(ready(&health).0, StatusCode::OK);
        health.stands_by.store(false, Ordering::Relaxed);
        health.has_seen.store(true, Ordering::Relaxed);
        assert_eq!(ready(&health), (StatusCode::OK, "ok\n".into()));
    }
}
