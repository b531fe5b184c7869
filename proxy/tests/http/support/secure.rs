//! Certificates, and clients that speak TLS.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};
use tempfile::TempDir;

use super::{
    Client, PATIENCE,
    client::{Socket, is_closed},
};

/// A certificate for `localhost` and its key, as files.
pub(crate) struct Identity {
    folder: TempDir,
    certificate: CertificateDer<'static>,
}

impl Socket for StreamOwned<ClientConnection, TcpStream> {
    fn end_sending(&mut self) {
        self.conn.send_close_notify();
        match self.conn.complete_io(&mut self.sock) {
            Err(error) if !is_closed(&error) => panic!("cannot end: {error}"),
            _ => {}
        }
    }
}

// === impl Identity ===

impl Identity {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = write_new(folder.path());
        Self { folder, certificate }
    }

    /// Puts another certificate and key in the place of those that are there.
    pub(crate) fn renew(&mut self) {
        self.certificate = write_new(self.folder.path());
    }

    /// The configuration of a TLS listener on a free port.
    pub(crate) fn config(&self) -> String {
        let file = |name| self.folder.path().join(name).display().to_string();
        format!(
            "[tls]\nbind_address = \"127.0.0.1:0\"\ncert_file = \"{}\"\nkey_file = \"{}\"\n",
            file("cert.pem"),
            file("key.pem")
        )
    }

    /// A client's configuration that trusts this certificate alone.
    pub(crate) fn client_config(&self, protocol: &str) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }

    /// An HTTP/1.1 client; an error if the listener shows another certificate.
    pub(crate) fn connect(&self, address: SocketAddr) -> Result<Client, std::io::Error> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut connection = ClientConnection::new(self.client_config("http/1.1"), server_name()).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
        Ok(Client { socket: Box::new(StreamOwned::new(connection, socket)), buffer: Vec::new() })
    }
}

/// The name in the certificates.
pub(crate) fn server_name() -> ServerName<'static> {
    "localhost".try_into().unwrap()
}

fn write_new(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}
