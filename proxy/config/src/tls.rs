//! The section `[tls]`.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The listener for clients over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The address and port to listen on.
    #[schemars(extend("format" = "ip-port"))]
    pub bind_address: SocketAddr,
    /// The certificate chain in PEM, the server's own first. The file is read again when it changes.
    #[schemars(extend("examples" = ["/etc/revenprox/tls.crt"], "x-reload" = true))]
    pub cert_file: String,
    /// The private key of the certificate in PEM. The file is read again when it changes.
    #[schemars(extend("examples" = ["/etc/revenprox/tls.key"], "x-reload" = true))]
    pub key_file: String,
    /// The authorities in PEM of which clients must show a certificate. Without it, clients need none.
    #[schemars(extend("examples" = ["/etc/revenprox/clients.crt"], "x-reload" = true))]
    pub client_ca_file: Option<String>,
}

// === impl Tls ===

impl Default for Tls {
    fn default() -> Self {
        Self {
            bind_address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
            cert_file: String::new(),
            key_file: String::new(),
            client_ca_file: None,
        }
    }
}

impl Tls {
    /// What no schema can say of a single key.
    pub fn problems(&self) -> Vec<(String, String)> {
        [("cert_file", &self.cert_file), ("key_file", &self.key_file)]
            .into_iter()
            .filter(|(_, file)| file.is_empty())
            .map(|(key, _)| {
                (key.to_owned(), "is needed for TLS; name a PEM file, or remove [tls]".to_owned())
            })
            .collect()
    }
}
