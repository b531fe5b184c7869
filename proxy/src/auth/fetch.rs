//! The HTTP client for the webhook and for JWKS: bounded in time and size, TLS by the system's roots and
//! configured ones.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// The largest response head, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Which certificates take part.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TlsFiles<'a> {
    pub(crate) ca: Option<&'a Path>,
    pub(crate) client_cert: Option<&'a Path>,
    pub(crate) client_key: Option<&'a Path>,
}

/// Bounds of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// For one exchange, from connecting to the last byte.
    pub(crate) timeout: Duration,
    /// For the response's body, in bytes.
    pub(crate) body_max: usize,
    /// For idle connections.
    pub(crate) idle_max: usize,
    /// For how long a connection is kept idle.
    pub(crate) idle_timeout: Duration,
}

/// A client.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    bounds: Bounds,
}

/// Why no response came back whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the exchange failed")]
    Exchange(#[source] hyper_util::client::legacy::Error),
    #[error("the answer broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// Why a certificate or key of a TLS client cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A PEM file cannot be read or holds nothing fitting.
    #[error("cannot read {path}; it must be a PEM file with {what}")]
    Pem {
        /// The file's path as configured.
        path: String,
        /// What it should hold.
        what: &'static str,
        /// What was found instead.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or are of an unsupported type.
    #[error("the client certificate or an authority's certificate cannot be used")]
    Unfit(#[source] rustls::Error),
    /// Only one of certificate and key is there.
    #[error("mutual TLS needs both a certificate and its key")]
    Half,
}

// === impl Fetcher ===

impl Fetcher {
    /// A client. Reads the certificate files; opens no connection.
    pub(crate) fn new(tls: TlsFiles<'_>, bounds: Bounds) -> Result<Self, TlsError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(bounds.timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(tls)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(bounds.idle_max)
            .pool_idle_timeout(bounds.idle_timeout)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Ok(Self { client, bounds })
    }

    /// Sends a request and takes the whole answer, within the bounds. Redirects are answers like others.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let timeout = self.bounds.timeout;
        tokio::time::timeout(timeout, self.exchange(request))
            .await
            .unwrap_or(Err(FetchError::Timeout(timeout)))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), FetchError> {
        let response = self.client.request(request).await.map_err(FetchError::Exchange)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), self.bounds.body_max).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::TooLarge(self.bounds.body_max)
            } else {
                FetchError::Body(error)
            }
        })?;
        Ok((status, body.to_bytes()))
    }
}

fn tls_config(files: TlsFiles<'_>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    // A system without roots, or with odd ones among them, can still use plain HTTP and configured
    // authorities.
    let native = rustls_native_certs::load_native_certs();
    let (_, ignored) = roots.add_parsable_certificates(native.certs);
    if ignored > 0 || !native.errors.is_empty() {
        tracing::debug!(
            ignored,
            errors = native.errors.len(),
            "some certificates of the system are not used"
        );
    }
    if let Some(path) = files.ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(TlsError::Unfit)?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .with_root_certificates(roots);
    match (files.client_cert, files.client_key) {
        (Some(cert), Some(key)) => {
            builder.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(TlsError::Unfit)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(TlsError::Half),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = pem_error(path, "certificates");
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(&error)?.collect::<Result<_, _>>().map_err(&error)?;
    if found.is_empty() { Err(error(rustls::pki_types::pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(pem_error(path, "a private key"))
}

fn pem_error(path: &Path, what: &'static str) -> impl Fn(rustls::pki_types::pem::Error) -> TlsError {
    move |source| TlsError::Pem { path: path.display().to_string(), what, source }
}
