//! The webhook over TLS, with a private authority and with client certificates.

use std::{path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use revenprox_proxy::{
    auth::{Action, AuthSetupError, Authenticator, Refusal},
    config::auth::{Auth, JwtVerifier},
};
use serde_json::json;
use tempfile::TempDir;
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};

use crate::support::{Reply, Server, authenticator, foreign_token, topic, webhook};

/// An authority with a server and a client certificate, as files and as a server's configuration.
struct Pki {
    _folder: TempDir,
    ca: PathBuf,
    client_cert: PathBuf,
    client_key: PathBuf,
    server: Arc<ServerConfig>,
}

impl Pki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let (server_cert, server_key) = issue(&issuer, "127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
        let (client_cert, client_key) = issue(&issuer, "proxy", ExtendedKeyUsagePurpose::ClientAuth);
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        Self {
            ca: write("ca.pem", &ca.pem()),
            client_cert: write("client.pem", &client_cert.pem()),
            client_key: write("client.key", &client_key.serialize_pem()),
            server: Arc::new(server_config(ca.der(), server_cert.der(), &server_key)),
            _folder: folder,
        }
    }
}

fn issue(
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    usage: ExtendedKeyUsagePurpose,
) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap(), key)
}

/// A server that insists on a client certificate of the authority.
fn server_config(ca: &CertificateDer<'_>, cert: &CertificateDer<'_>, key: &KeyPair) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned()).unwrap();
    let provider = Arc::new(default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![cert.clone().into_owned()], key)
        .unwrap()
}

#[tokio::test]
async fn mutual_tls_needs_the_authority_and_the_client_certificate() {
    let pki = Pki::new();
    let server = Server::start_with(Reply::valid(), Some(pki.server.clone())).await;
    let plain = webhook(&format!("https://{}/", server.address));
    let trusting = JwtVerifier { ca_file: Some(pki.ca.clone()), ..plain.clone() };
    let client = (Some(pki.client_cert.clone()), Some(pki.client_key.clone()));
    let mutual = JwtVerifier { client_cert_file: client.0, client_key_file: client.1, ..trusting.clone() };
    for (name, settings, works) in
        [("no authority", plain, false), ("no client", trusting, false), ("both", mutual, true)]
    {
        let (auth, _) = authenticator(&settings, &Auth::default());
        let outcome = auth.authorize(Some(&foreign_token(&json!({}))), &topic("t"), Action::Subscribe).await;
        assert_eq!(outcome.is_ok(), works, "{name}: {outcome:?}");
        assert!(works || matches!(outcome, Err(Refusal::Unavailable { .. })), "{name}: {outcome:?}");
    }
    assert_eq!(server.calls(), 1, "only the trusted and known client got through");
}

#[tokio::test]
async fn unusable_certificate_files_are_refused_at_setup() {
    let pki = Pki::new();
    let setup = |settings: JwtVerifier| {
        let outcome = Authenticator::new(&settings, &Auth::default(), true, &prometheus::Registry::new());
        assert!(matches!(outcome, Err(AuthSetupError::WebhookTls(_))), "{outcome:?}");
    };
    let base = webhook("https://127.0.0.1:1/");
    setup(JwtVerifier { ca_file: Some("/nonexistent.pem".into()), ..base.clone() });
    setup(JwtVerifier { ca_file: Some(pki.client_key.clone()), ..base.clone() });
    let swapped = (Some(pki.client_key.clone()), Some(pki.client_cert.clone()));
    setup(JwtVerifier { client_cert_file: swapped.0, client_key_file: swapped.1, ..base.clone() });
    let other = Pki::new();
    let mixed = (Some(pki.client_cert.clone()), Some(other.client_key.clone()));
    setup(JwtVerifier { client_cert_file: mixed.0, client_key_file: mixed.1, ..base });
}
