//! HTTP requests over plain TCP or TLS.

use std::{
    error::Error as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::time::timeout;

use super::{ClientError, Target};

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may take to answer with a head.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may be silent before the system asks whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The largest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The longest part of an answer that is shown when it is not understood.
const SHOWN_CHARS_MAX: usize = 300;

/// Which certificate authorities a server may be vouched for by.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Those of the system.
    #[default]
    System,
    /// Those of a PEM file, and no others.
    File(PathBuf),
}

/// Sends requests to one server.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

// === impl HttpClient ===

impl HttpClient {
    /// A client for a server. Over plain TCP, no certificate authorities are loaded.
    pub fn new(target: &Target, trust: &Trust) -> Result<Self, ClientError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_keepalive(Some(TCP_KEEPALIVE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(target, trust)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        Ok(Self { inner: builder.build(connector) })
    }

    /// Sends a request and waits for the head of the answer, whatever its status.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        match timeout(ANSWER_TIMEOUT, self.inner.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(ClientError::Unreachable(innermost(&error))),
            Err(_) => Err(ClientError::Unreachable(format!("none within {} s", ANSWER_TIMEOUT.as_secs()))),
        }
    }

    /// Sends a request and reads the answer whole, whatever its status.
    pub async fn fetch(&self, request: Request<Full<Bytes>>) -> Result<Response<String>, ClientError> {
        let (head, body) = self.send(request).await?.into_parts();
        Ok(Response::from_parts(head, text_of(body).await?))
    }
}

/// Reads the rest of an answer.
pub(super) async fn text_of(body: Incoming) -> Result<String, ClientError> {
    let read = timeout(ANSWER_TIMEOUT, Limited::new(body, ANSWER_BYTES_MAX).collect()).await;
    let body = read.map_err(|_| ClientError::Unreachable("the answer does not end".to_owned()))?;
    let bytes = body.map_err(|error| ClientError::Unreachable(format!("the answer broke off: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes.to_bytes()).into_owned())
}

/// What the server said when it refused a request.
pub(crate) async fn refusal(status: StatusCode, body: Incoming) -> ClientError {
    let text = text_of(body).await.unwrap_or_default();
    // `application/problem+json`, RFC 9457.
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let said = ["detail", "title"].into_iter().find_map(|key| json[key].as_str()).unwrap_or(text.trim());
    let detail = if said.is_empty() { "it gave no reason" } else { said };
    ClientError::Refused { status, detail: detail.chars().take(SHOWN_CHARS_MAX).collect() }
}

fn tls_config(target: &Target, trust: &Trust) -> Result<ClientConfig, ClientError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Trust(error.to_string()))?;
    let builder = match trust {
        Trust::File(path) => builder.with_root_certificates(authorities(path)?),
        Trust::System if target.is_tls() => {
            builder.with_native_roots().map_err(|error| ClientError::Trust(error.to_string()))?
        }
        Trust::System => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(builder.with_no_client_auth())
}

fn authorities(path: &Path) -> Result<RootCertStore, ClientError> {
    let wrong = |reason: String| ClientError::Trust(format!("{}: {reason}", path.display()));
    let mut store = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        store.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(wrong("it has no certificate".to_owned()));
    }
    Ok(store)
}

/// The cause that says most: "client error (Connect)" alone helps nobody.
fn innermost(error: &hyper_util::client::legacy::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}
