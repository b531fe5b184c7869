//! What can be wrong with the sections, found without touching a file or the network.

use std::collections::HashSet;

use http::Uri;

use super::{Algorithm, Auth, Jwks, JwtVerifier, LocalKey, Method, Problems, Secret, SecretEncoding};
use crate::load::section_problems;

/// The most entries of `auth.keys`.
pub const KEYS_MAX: usize = 64;

/// The most entries of `auth.jwks`.
pub const SOURCES_MAX: usize = 8;

/// The most entries of `auth.issuers` and of `auth.audiences`.
const NAMES_MAX: usize = 64;

/// The shortest secret, in bytes, that the algorithm may be used with (RFC 7518, section 3.2); 0 where it has
/// none.
pub fn secret_bytes_min(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 0,
    }
}

/// Problems that only both sections together have, with the section in the path.
pub fn cross_problems(jwt: &JwtVerifier, auth: &Auth) -> Problems {
    let mut problems = Problems::new();
    let none = jwt.webhook_url.is_none() && auth.keys.is_empty() && auth.jwks.is_empty();
    if jwt.require_authentication && none {
        let message = "nothing can verify a token; set jwt_verifier.webhook_url, auth.keys or auth.jwks, \
                       or jwt_verifier.require_authentication = false for development";
        problem(&mut problems, "jwt_verifier.webhook_url", message);
    }
    let configured = [
        (Method::Local, !auth.keys.is_empty(), "auth.keys"),
        (Method::Jwks, !auth.jwks.is_empty(), "auth.jwks"),
        (Method::Webhook, jwt.webhook_url.is_some(), "jwt_verifier.webhook_url"),
    ];
    for (method, present, path) in configured {
        if present && !auth.order.contains(&method) {
            problem(
                &mut problems,
                "auth.order",
                format!("leaves out what {path} configures; add it or remove {path}"),
            );
        }
    }
    problems
}

// === impl JwtVerifier ===

impl JwtVerifier {
    /// What is wrong with the section by itself. Pure: files and hosts are not looked at.
    pub fn problems(&self) -> Problems {
        let mut found = section_problems("jwt_verifier", self);
        if let Some(url) = &self.webhook_url {
            url_problem(&mut found, "webhook_url", url);
        }
        if self.retry_backoff_max_ms < self.retry_backoff_ms {
            problem(&mut found, "retry_backoff_max_ms", "is shorter than retry_backoff_ms; raise it");
        }
        self.hmac_problems(&mut found);
        if self.client_cert_file.is_some() != self.client_key_file.is_some() {
            problem(
                &mut found,
                "client_cert_file",
                "mutual TLS needs both client_cert_file and client_key_file",
            );
        }
        found
    }

    fn hmac_problems(&self, found: &mut Problems) {
        if self.hmac_secret.is_some() && self.hmac_secret_file.is_some() {
            problem(found, "hmac_secret", "set either hmac_secret or hmac_secret_file, not both");
        }
        if let Some(secret) = &self.hmac_secret {
            secret_problem(found, "hmac_secret", secret, 16);
        }
    }
}

// === impl Auth ===

impl Auth {
    /// What is wrong with the section by itself. Pure: files and hosts are not looked at.
    pub fn problems(&self) -> Problems {
        let mut found = section_problems("auth", self);
        count(&mut found, "keys", self.keys.len(), KEYS_MAX);
        count(&mut found, "jwks", self.jwks.len(), SOURCES_MAX);
        count(&mut found, "issuers", self.issuers.len(), NAMES_MAX);
        count(&mut found, "audiences", self.audiences.len(), NAMES_MAX);
        for (at, key) in self.keys.iter().enumerate() {
            key.problems(&mut found, &format!("keys[{at}]"));
        }
        for (at, source) in self.jwks.iter().enumerate() {
            source.problems(&mut found, &format!("jwks[{at}]"));
        }
        self.list_problems(&mut found);
        if self.cookie_name.as_deref().is_some_and(|name| !is_cookie_name(name)) {
            problem(&mut found, "cookie_name", "is not a cookie name; use letters, digits, `-` and `_`");
        }
        found
    }

    fn list_problems(&self, found: &mut Problems) {
        if self.order.is_empty() {
            problem(found, "order", "is empty; name at least one of local, jwks, webhook");
        }
        let repeated = (1..self.order.len()).any(|at| self.order[..at].contains(&self.order[at]));
        if repeated {
            problem(found, "order", "names a method twice; name each once");
        }
        let mut seen = HashSet::new();
        for (at, key) in self.keys.iter().enumerate() {
            if key.kid.is_some() && !seen.insert((&key.kid, key.algorithm)) {
                problem(
                    found,
                    format!("keys[{at}].kid"),
                    "repeats the kid of another key with the same algorithm",
                );
            }
        }
    }
}

// === impl LocalKey ===

impl LocalKey {
    fn problems(&self, found: &mut Problems, path: &str) {
        let secrets = usize::from(self.secret.is_some()) + usize::from(self.secret_file.is_some());
        let publics = usize::from(self.public_key.is_some()) + usize::from(self.public_key_file.is_some());
        let name = self.algorithm;
        if self.algorithm.is_symmetric() {
            if secrets != 1 || publics != 0 {
                problem(
                    found,
                    path,
                    format!("{name:?} needs exactly one of secret and secret_file, and no public key"),
                );
            }
        } else if publics != 1 || secrets != 0 {
            problem(
                found,
                path,
                format!("{name:?} needs exactly one of public_key and public_key_file, and no secret"),
            );
        }
        if let Some(secret) = &self.secret {
            // The length of an encoded secret is only known once it is decoded, which setting up the key
            // does.
            let least = if self.secret_encoding == SecretEncoding::Text { secret_bytes_min(name) } else { 1 };
            secret_problem(found, &format!("{path}.secret"), secret, least);
        }
        if self.kid.as_deref().is_some_and(str::is_empty) {
            problem(found, format!("{path}.kid"), "is empty; leave it out for a key without kid");
        }
    }
}

// === impl Jwks ===

impl Jwks {
    fn problems(&self, found: &mut Problems, path: &str) {
        url_problem(found, &format!("{path}.url"), &self.url);
        if self.algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            problem(
                found,
                format!("{path}.algorithms"),
                "names an HS algorithm; a published set has public keys only",
            );
        }
    }
}

fn problem(found: &mut Problems, path: impl Into<String>, message: impl Into<String>) {
    found.push((path.into(), message.into()));
}

fn count(found: &mut Problems, path: &str, len: usize, most: usize) {
    if len > most {
        problem(found, path, format!("has {len} entries; at most {most} are allowed"));
    }
}

fn secret_problem(found: &mut Problems, path: &str, secret: &Secret, least: usize) {
    let bytes = secret.expose().len();
    if bytes < least {
        problem(found, path, format!("has {bytes} bytes; use at least {least}"));
    }
}

fn url_problem(found: &mut Problems, path: &str, url: &str) {
    let Ok(uri) = url.parse::<Uri>() else {
        return problem(found, path, "is not a URL; write it as https://host/path");
    };
    let Some(authority) = uri.authority() else {
        return problem(found, path, "names no host; write it as https://host/path");
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        problem(found, path, "is neither http:// nor https://");
    }
    if authority.as_str().contains('@') {
        problem(found, path, "contains a user name; remove it, since URLs are logged");
    }
}

/// Whether the text is a token as RFC 9110, section 5.6.2 defines it, which cookie names are (RFC 6265).
fn is_cookie_name(name: &str) -> bool {
    let special = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || special(byte))
}

#[cfg(test)]
mod tests;
