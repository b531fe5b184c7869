//! Sets of verification keys, each bound to its algorithms, and the search for the one that a token was
//! signed with.

use std::{
    fmt,
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use jsonwebtoken::{DecodingKey, crypto::aws_lc::DEFAULT_PROVIDER};

use super::{AuthSetupError, failure::Failure, token::Jws};
use crate::config::auth::{Algorithm, LocalKey, SecretEncoding, secret_bytes_min};

/// How many keys are tried at most for one token; more than one only where a `kid` is missing on either side.
const TRIES_MAX: usize = 16;

/// The largest key file, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// The sizes of RSA keys that are accepted, in bits: weaker ones are unsafe, larger ones a burden.
pub(super) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Keys to search.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Arc<VerifyKey>>,
}

/// One key.
pub(crate) struct VerifyKey {
    /// The `kid` of its tokens.
    pub(crate) kid: Option<String>,
    /// The issuer of its tokens.
    pub(crate) issuer: Option<String>,
    /// The algorithms that it is used with, all of the key's own type.
    pub(crate) algorithms: Vec<Algorithm>,
    /// The key itself.
    pub(crate) key: DecodingKey,
}

/// What a search came to.
#[derive(Debug)]
pub(crate) enum Search {
    /// This key signed the token.
    Verified(Arc<VerifyKey>),
    /// The token names a key of this set, and that key says no.
    Refused(Failure),
    /// No key of this set has to do with the token; the failure is the answer if nobody else knows it.
    Unknown(Failure),
}

// === impl KeySet ===

impl KeySet {
    /// A set of these keys.
    pub(crate) fn new(keys: Vec<VerifyKey>) -> Self {
        Self { keys: keys.into_iter().map(Arc::new).collect() }
    }

    /// Loads the keys that the settings name, from files where they say so.
    pub(crate) fn load(keys: &[LocalKey]) -> Result<Self, AuthSetupError> {
        let load = |(at, key)| VerifyKey::load(key).map_err(|source| AuthSetupError::Key { at, source });
        Ok(Self::new(keys.iter().enumerate().map(load).collect::<Result<_, _>>()?))
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Looks for the key that signed the token.
    ///
    /// Only keys bound to the token's algorithm are tried. A key that carries the token's `kid` decides for
    /// good; keys without a `kid`, and tokens without one, are a matter of trying.
    pub(crate) fn search(&self, jws: &Jws<'_>) -> Search {
        let Some(algorithm) = jws.algorithm else { return Search::Unknown(Failure::Algorithm) };
        if jws.critical {
            return Search::Unknown(Failure::Malformed);
        }
        let named = |key: &&Arc<VerifyKey>| jws.kid.is_some() && key.kid == jws.kid;
        let fits = |key: &&Arc<VerifyKey>| key.algorithms.contains(&algorithm);
        let open = |key: &&Arc<VerifyKey>| jws.kid.is_none() || key.kid.is_none();
        if self.keys.iter().any(|key| named(&key)) {
            let mut own = self.keys.iter().filter(named).filter(fits).peekable();
            let failure = if own.peek().is_some() { Failure::Signature } else { Failure::Algorithm };
            let signer = own.take(TRIES_MAX).find(|key| key.verifies(jws, algorithm));
            return signer.map_or(Search::Refused(failure), |key| Search::Verified(key.clone()));
        }
        let mut candidates = self.keys.iter().filter(open).filter(fits).peekable();
        let failure = if candidates.peek().is_some() { Failure::Signature } else { Failure::UnknownKey };
        let signer = candidates.take(TRIES_MAX).find(|key| key.verifies(jws, algorithm));
        signer.map_or(Search::Unknown(failure), |key| Search::Verified(key.clone()))
    }
}

// === impl VerifyKey ===

impl VerifyKey {
    fn load(settings: &LocalKey) -> Result<Self, KeyError> {
        let algorithm = settings.algorithm;
        let key = if algorithm.is_symmetric() { secret_key(settings)? } else { public_key(settings)? };
        let (kid, issuer) = (settings.kid.clone(), settings.issuer.clone());
        Ok(Self { kid, issuer, algorithms: vec![algorithm], key })
    }

    fn verifies(&self, jws: &Jws<'_>, algorithm: Algorithm) -> bool {
        let message = jws.message.as_bytes();
        jsonwebtoken::crypto::verify(jws.signature, message, &self.key, known_as(algorithm)).unwrap_or(false)
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyKey")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// Why a local key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The settings name no key material.
    #[error("names no secret and no public key")]
    Absent,
    /// The file cannot be read.
    #[error("cannot read {path}; check that it exists, is a file of at most 64 KiB and is readable")]
    File {
        /// The file's path as configured.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The secret is shorter than the algorithm's hash.
    #[error("the secret has {bytes} bytes; {algorithm:?} needs at least {}", secret_bytes_min(*.algorithm))]
    Short {
        /// Its length.
        bytes: usize,
        /// The algorithm it is for.
        algorithm: Algorithm,
    },
    /// The secret is not what its encoding says.
    #[error("the secret is not base64; write it so, or set secret_encoding = \"text\"")]
    NotBase64,
    /// A private key where the public one belongs.
    #[error("this is a private key; give the public key instead (openssl pkey -pubout)")]
    Private,
    /// The public key is of another type than the algorithm needs, or damaged.
    #[error("is not a PEM public key for {0:?}")]
    Unfit(Algorithm),
    /// An RSA key of a size that is not accepted.
    #[error("the RSA key has {0} bits; use 2048 to 8192")]
    RsaSize(usize),
}

fn secret_key(settings: &LocalKey) -> Result<DecodingKey, KeyError> {
    let text = match (&settings.secret, &settings.secret_file) {
        (Some(secret), _) => secret.expose().as_bytes().to_vec(),
        (None, Some(path)) => without_line_end(read(path)?),
        (None, None) => return Err(KeyError::Absent),
    };
    let bytes = match settings.secret_encoding {
        SecretEncoding::Text => text,
        SecretEncoding::Base64 => decode_base64(text)?,
    };
    let (bytes_len, algorithm) = (bytes.len(), settings.algorithm);
    if bytes_len < secret_bytes_min(algorithm) {
        return Err(KeyError::Short { bytes: bytes_len, algorithm });
    }
    Ok(DecodingKey::from_secret(&bytes))
}

fn public_key(settings: &LocalKey) -> Result<DecodingKey, KeyError> {
    let pem = match (&settings.public_key, &settings.public_key_file) {
        (Some(pem), _) => pem.as_bytes().to_vec(),
        (None, Some(path)) => read(path)?,
        (None, None) => return Err(KeyError::Absent),
    };
    if memchr::memmem::find(&pem, b"PRIVATE KEY-----").is_some() {
        return Err(KeyError::Private);
    }
    let algorithm = settings.algorithm;
    let unfit = |_| KeyError::Unfit(algorithm);
    match algorithm {
        Algorithm::ES256 => ec_key(&pem, 65).ok_or(KeyError::Unfit(algorithm)),
        Algorithm::ES384 => ec_key(&pem, 97).ok_or(KeyError::Unfit(algorithm)),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(&pem).map_err(unfit),
        _ => {
            let key = DecodingKey::from_rsa_pem(&pem).map_err(unfit)?;
            let der = key.try_get_as_bytes().map_err(unfit)?;
            let (modulus, _) =
                (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der).map_err(unfit)?;
            check_rsa_size(&modulus).map_err(KeyError::RsaSize)?;
            Ok(key)
        }
    }
}

/// Checks an RSA modulus; the error is its size in bits.
pub(super) fn check_rsa_size(modulus: &[u8]) -> Result<(), usize> {
    let bits = match modulus.iter().position(|&byte| byte != 0) {
        Some(first) => (modulus.len() - first) * 8 - modulus[first].leading_zeros() as usize,
        None => 0,
    };
    if RSA_BITS.contains(&bits) { Ok(()) } else { Err(bits) }
}

/// The key, if it is an uncompressed point of this many bytes, which tells the curve.
fn ec_key(pem: &[u8], point_bytes: usize) -> Option<DecodingKey> {
    let key = DecodingKey::from_ec_pem(pem).ok()?;
    (key.try_get_as_bytes().ok()?.len() == point_bytes).then_some(key)
}

/// Reads a file of bounded size.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    let error = |source| KeyError::File { path: path.display().to_string(), source };
    let mut content = Vec::new();
    let file = File::open(path).map_err(error)?;
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(error)?;
    if content.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(error(ErrorKind::FileTooLarge.into()));
    }
    Ok(content)
}

/// The content of a secret's file without the line end that editors put there.
pub(super) fn without_line_end(mut content: Vec<u8>) -> Vec<u8> {
    if content.last() == Some(&b'\n') {
        content.pop();
        if content.last() == Some(&b'\r') {
            content.pop();
        }
    }
    content
}

fn decode_base64(mut text: Vec<u8>) -> Result<Vec<u8>, KeyError> {
    while text.last() == Some(&b'=') {
        text.pop();
    }
    for byte in &mut text {
        match *byte {
            b'-' => *byte = b'+',
            b'_' => *byte = b'/',
            _ => {}
        }
    }
    STANDARD_NO_PAD.decode(text).map_err(|_| KeyError::NotBase64)
}

/// The algorithm as the library that verifies knows it.
pub fn known_as(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Known;
    match algorithm {
        Algorithm::HS256 => Known::HS256,
        Algorithm::HS384 => Known::HS384,
        Algorithm::HS512 => Known::HS512,
        Algorithm::RS256 => Known::RS256,
        Algorithm::RS384 => Known::RS384,
        Algorithm::RS512 => Known::RS512,
        Algorithm::PS256 => Known::PS256,
        Algorithm::PS384 => Known::PS384,
        Algorithm::PS512 => Known::PS512,
        Algorithm::ES256 => Known::ES256,
        Algorithm::ES384 => Known::ES384,
        Algorithm::EdDSA => Known::EdDSA,
    }
}
