//! `sse-proxy token`.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use jsonwebtoken::{AlgorithmFamily, EncodingKey, Header};
use serde::Serialize;

use super::{CliError, Exit};
use crate::{auth::known_as, config::auth::Algorithm};

/// Sign a token for development and print it.
///
/// A token without --subscribe and --publish says nothing about topics; the proxy's configuration decides what
/// such a token may do.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sse-proxy token --key hmac.key --subscribe 'orders-*' --ttl 15m
  sse-proxy token --key private.pem --sub alice --subscribe '*' --publish chat
  sse-proxy token --secret 'a secret of at least thirty-two bytes' --subscribe demo")]
pub(super) struct Sign {
    /// The shared secret. Other users of the machine can see it while the command runs; --key hides it.
    #[arg(long, value_name = "TEXT", required_unless_present = "key")]
    secret: Option<String>,
    /// A file with the key: a private key in PEM, or the shared secret of an HS algorithm (one line end after
    /// it is left out).
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    key: Option<PathBuf>,
    /// The algorithm. Without it, HS256 for a shared secret, and RS256, ES256 or `EdDSA` for a private key of
    /// that kind.
    #[arg(long, value_name = "NAME", ignore_case = true)]
    alg: Option<Algorithm>,
    /// The claim `sub`.
    #[arg(long, value_name = "TEXT", default_value = "developer")]
    sub: String,
    /// How long the token is valid, as in 90, 15m or 1h.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = super::duration)]
    ttl: Duration,
    /// A pattern of topics that may be subscribed to, such as `orders-*`; can be repeated.
    #[arg(long, value_name = "PATTERN")]
    subscribe: Vec<String>,
    /// A pattern of topics that may be published to; can be repeated.
    #[arg(long, value_name = "PATTERN")]
    publish: Vec<String>,
    /// The claim `iss`.
    #[arg(long, value_name = "TEXT")]
    iss: Option<String>,
    /// The claim `aud`; can be repeated.
    #[arg(long, value_name = "TEXT")]
    aud: Vec<String>,
    /// The header `kid`, which names the key.
    #[arg(long, value_name = "TEXT")]
    kid: Option<String>,
    /// The claim `jti`, by which the token can be revoked.
    #[arg(long, value_name = "TEXT")]
    jti: Option<String>,
}

#[derive(Debug, Serialize)]
struct Claims {
    sub: String,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aud: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revenprox: Option<Permissions>,
}

/// The claim that says which topics a token is for.
#[derive(Debug, Serialize)]
struct Permissions {
    subscribe: Vec<String>,
    publish: Vec<String>,
}

// === impl Sign ===

impl Sign {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Exit, CliError> {
        let (algorithm, key) = self.key()?;
        let header = Header { kid: self.kid.clone(), ..Header::new(algorithm) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let token = jsonwebtoken::encode(&header, &self.claims(now), &key)
            .map_err(|error| CliError::Usage(format!("cannot sign with {algorithm:?}: {error}")))?;
        writeln!(out, "{token}")?;
        Ok(Exit::Success)
    }

    fn claims(self, now: u64) -> Claims {
        let is_limited = !(self.subscribe.is_empty() && self.publish.is_empty());
        Claims {
            sub: self.sub,
            iat: now,
            exp: now.saturating_add(self.ttl.as_secs()),
            iss: self.iss,
            aud: self.aud,
            jti: self.jti,
            revenprox: is_limited.then_some(Permissions { subscribe: self.subscribe, publish: self.publish }),
        }
    }

    fn key(&self) -> Result<(jsonwebtoken::Algorithm, EncodingKey), CliError> {
        let alg = self.alg.map(known_as);
        let bytes = match (&self.secret, &self.key) {
            (Some(secret), _) => secret.clone().into_bytes(),
            (None, Some(file)) => fs::read(file)
                .map_err(|error| CliError::Failed(format!("cannot read {}: {error}", file.display())))?,
            (None, None) => return Err(CliError::Usage("a secret or a key is needed".to_owned())),
        };
        let is_pem = self.secret.is_none() && bytes.starts_with(b"-----BEGIN ");
        let wrong = |error| CliError::Usage(format!("the key does not fit {alg:?}: {error}", alg = self.alg));
        match alg.map(|alg| (alg, alg.family())) {
            None if is_pem => guess(&bytes),
            None => Ok((jsonwebtoken::Algorithm::HS256, shared(&bytes)?)),
            Some((alg, AlgorithmFamily::Hmac)) if !is_pem => Ok((alg, shared(&bytes)?)),
            Some((_, AlgorithmFamily::Hmac)) => {
                Err(CliError::Usage("a private key cannot be the secret of an HS algorithm".to_owned()))
            }
            Some((alg, AlgorithmFamily::Rsa)) => Ok((alg, EncodingKey::from_rsa_pem(&bytes).map_err(wrong)?)),
            Some((alg, AlgorithmFamily::Ec)) => Ok((alg, EncodingKey::from_ec_pem(&bytes).map_err(wrong)?)),
            Some((alg, AlgorithmFamily::Ed)) => Ok((alg, EncodingKey::from_ed_pem(&bytes).map_err(wrong)?)),
        }
    }
}

/// The key of a shared secret; one line end after it is not part of it.
fn shared(bytes: &[u8]) -> Result<EncodingKey, CliError> {
    let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.is_empty() {
        return Err(CliError::Usage("the secret is empty".to_owned()));
    }
    Ok(EncodingKey::from_secret(secret))
}

/// The usual algorithm for a private key's kind.
fn guess(pem: &[u8]) -> Result<(jsonwebtoken::Algorithm, EncodingKey), CliError> {
    use jsonwebtoken::Algorithm as A;
    let rsa = || EncodingKey::from_rsa_pem(pem).map(|key| (A::RS256, key));
    let ec = || EncodingKey::from_ec_pem(pem).map(|key| (A::ES256, key));
    let ed = || EncodingKey::from_ed_pem(pem).map(|key| (A::EdDSA, key));
    let unknown = |error| CliError::Usage(format!("the file is no private key in PEM: {error}"));
    rsa().or_else(|_| ec()).or_else(|_| ed()).map_err(unknown)
}
