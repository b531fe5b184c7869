//! The section `[admin]`.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// A second listener, for operators only: metrics, health, topics, connections, drain, revocation, the
/// effective configuration and the log level.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address and port to listen on. Without it there is no such listener.
    #[schemars(extend("examples" = ["127.0.0.1:9090"], "format" = "ip-port"))]
    pub bind_address: Option<SocketAddr>,
    /// Whether health and metrics answer on this listener only, and no longer on the one for clients.
    pub exclusive: bool,
    /// A secret that requests must carry as `Authorization: Bearer`. Without it, whoever reaches the listener
    /// is an operator.
    #[schemars(extend("examples" = ["a long random text"], "x-reload" = true))]
    pub token: Option<Secret>,
    /// A file that holds the secret instead; white space around it is ignored.
    #[schemars(extend("examples" = ["/run/secrets/revenprox-admin"], "x-reload" = true))]
    pub token_file: Option<String>,
}

// === impl Admin ===

impl Admin {
    /// The secret that requests must carry, if any: `token`, or what is in `token_file` now.
    pub fn secret(&self) -> std::io::Result<Option<Secret>> {
        match &self.token_file {
            Some(file) => match std::fs::read_to_string(file)?.trim() {
                "" => Err(std::io::Error::other(format!("{file} is empty; put a long random text into it"))),
                secret => Ok(Some(Secret::new(secret))),
            },
            None => Ok(self.token.clone()),
        }
    }

    /// What no schema can say of a single key.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, text: &str| problems.push((key.to_owned(), text.to_owned()));
        if self.exclusive && self.bind_address.is_none() {
            problem("exclusive", "would leave health and metrics without a listener; set admin.bind_address");
        }
        if self.token.is_some() && self.token_file.is_some() {
            problem("token_file", "cannot be set together with admin.token; keep one of them");
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_secret_is_none_and_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let admin = Admin { token_file: Some(file.path().display().to_string()), ..Admin::default() };
        assert!(admin.secret().unwrap_err().to_string().contains("is empty"));
        std::fs::write(file.path(), " secret\n").unwrap();
        assert_eq!(admin.secret().unwrap(), Some(Secret::new("secret")));
    }
}
