//! The certificate of the TLS listener, which can be replaced while connections are served.

use std::{io, sync::Arc};

use parking_lot::RwLock;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// Why a TLS listener cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is not what it should be.
    #[error("{file} has no usable {what}: {reason}")]
    File {
        /// The file.
        file: String,
        /// What was looked for.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// The key is not the certificate's, or of an unknown kind.
    #[error("the certificate and key cannot be used: {0}")]
    Identity(#[from] rustls::Error),
    /// The clients' authorities cannot be used.
    #[error("the client authorities cannot be used: {0}")]
    ClientAuthority(#[from] rustls::server::VerifierBuilderError),
}

/// What the listener shows and whom it asks for a certificate.
pub struct TlsIdentity {
    current: RwLock<Arc<ServerConfig>>,
}

// === impl TlsIdentity ===

impl TlsIdentity {
    /// Reads the files.
    pub fn load(tls: &Tls) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self { current: RwLock::new(Arc::new(read(tls)?)) }))
    }

    /// Reads the files again, for connections that come later. On an error the old ones stay in use.
    pub fn reload(&self, tls: &Tls) -> Result<(), TlsError> {
        *self.current.write() = Arc::new(read(tls)?);
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read()))
    }
}

fn read(tls: &Tls) -> Result<ServerConfig, TlsError> {
    let certificates = certificates(&tls.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)
        .map_err(|e| unusable(&tls.key_file, "private key", &e))?;
    let builder = ServerConfig::builder();
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(self::certificates(file)?);
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build()?)
        }
    };
    let mut config = builder.with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| unusable(file, "certificate", &error))?;
    if all.is_empty() {
        return Err(unusable(file, "certificate", &io::Error::from(io::ErrorKind::NotFound)));
    }
    Ok(all)
}

fn unusable(file: &str, what: &'static str, reason: &impl ToString) -> TlsError {
    TlsError::File { file: file.to_owned(), what, reason: reason.to_string() }
}
