//! Settings of the sections `[jwt_verifier]` (the webhook) and `[auth]` (local keys and everything about
//! tokens).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod check;
mod jwt_verifier;

pub use super::secret::Secret;
pub use check::{KEYS_MAX, SOURCES_MAX, cross_problems, secret_bytes_min};
pub use jwt_verifier::JwtVerifier;

/// What is wrong with a section: the path of the key within it, and what to do about it.
pub type Problems = Vec<(String, String)>;

/// Section `[auth]`: local keys, JWKS, and how tokens are presented and judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Keys that verify tokens without asking anyone. At most 64.
    pub keys: Vec<LocalKey>,
    /// URLs of JSON Web Key Sets (RFC 7517), fetched at start and refreshed. At most 8.
    pub jwks: Vec<Jwks>,
    /// Accepted values of the claim `iss`. Empty: not checked, except where a key or a JWKS names its issuer.
    /// Not applied to tokens that the webhook verifies.
    pub issuers: Vec<String>,
    /// Accepted values of the claim `aud`; one match is enough. Empty: not checked. Not applied to tokens
    /// that the webhook verifies.
    pub audiences: Vec<String>,
    /// By how much the clock of a token's issuer may differ from ours, for `exp`, `nbf` and `iat`.
    #[schemars(range(max = 600), extend("x-unit" = "seconds"))]
    pub leeway_sec: u64,
    /// Who is asked about a token, in this order. A method that knows no key for a token leaves it to the
    /// next.
    pub order: Vec<Method>,
    /// What a token may do that carries neither a `revenprox` nor a `permissions` claim.
    pub default_permissions: Vec<Permission>,
    /// Name of a cookie that may carry the token. Unset: cookies are not looked at. Set such a cookie with
    /// `SameSite`, `Secure` and `HttpOnly`, since browsers send it along by themselves.
    #[schemars(extend("examples" = ["session"]))]
    pub cookie_name: Option<String>,
    /// Whether `?token=` in the URL is accepted, which the browsers' EventSource needs. It is never logged.
    pub query_tokens: bool,
    /// How long before a token's `exp` a stream gets the event `revenprox-token-expiring`; 0 sends no
    /// warning.
    #[schemars(range(max = 86_400), extend("x-unit" = "seconds"))]
    pub expiry_warning_sec: u64,
}

/// One entry of `auth.keys`: a key, bound to exactly one algorithm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalKey {
    /// The `kid` of the tokens that this key verifies. Unset: the key is tried for every token of its
    /// algorithm.
    #[schemars(extend("examples" = ["2026-01"]))]
    #[serde(default)]
    pub kid: Option<String>,
    /// The only algorithm that this key is used with.
    pub algorithm: Algorithm,
    /// The shared secret of an HS algorithm. At least as long as the hash (RFC 7518, section 3.2): 32, 48 or
    /// 64 bytes.
    #[schemars(extend("examples" = ["a random text of at least 32 bytes"]))]
    #[serde(default)]
    pub secret: Option<Secret>,
    /// A file with the shared secret; one line end after a text is not part of it.
    #[schemars(extend("examples" = ["/run/secrets/revenprox-jwt"]))]
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// How the secret is written.
    #[serde(default)]
    pub secret_encoding: SecretEncoding,
    /// The public key (PEM, `PUBLIC KEY` or `RSA PUBLIC KEY`) of an RS, PS, ES or `EdDSA` algorithm.
    #[serde(default)]
    pub public_key: Option<String>,
    /// A PEM file with the public key.
    #[schemars(extend("examples" = ["/etc/revenprox/jwt.pub"]))]
    #[serde(default)]
    pub public_key_file: Option<PathBuf>,
    /// The claim `iss` that tokens under this key must carry, in addition to `auth.issuers`.
    #[serde(default)]
    pub issuer: Option<String>,
}

/// One entry of `auth.jwks`: where a key set is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// The `https://` (or, inside a trusted network, `http://`) URL of the set. Redirects are not followed.
    #[schemars(extend("examples" = ["https://issuer.example.com/.well-known/jwks.json"]))]
    pub url: String,
    /// How often the set is fetched again, spread by 10 %.
    #[schemars(range(min = 10, max = 86_400), extend("x-unit" = "seconds"))]
    #[serde(default = "Jwks::default_refresh_sec")]
    pub refresh_sec: u64,
    /// The least time between two fetches, however many unknown `kid`s arrive.
    #[schemars(range(min = 1, max = 3600), extend("x-unit" = "seconds"))]
    #[serde(default = "Jwks::default_min_refresh_sec")]
    pub min_refresh_sec: u64,
    /// How long one fetch may take.
    #[schemars(range(min = 10, max = 60_000), extend("x-unit" = "milliseconds"))]
    #[serde(default = "Jwks::default_timeout_ms")]
    pub timeout_ms: u64,
    /// The only algorithms that keys of this set are used with. Empty: those that each key's own type and
    /// `alg` allow.
    #[serde(default)]
    pub algorithms: Vec<Algorithm>,
    /// The claim `iss` that tokens under these keys must carry, in addition to `auth.issuers`.
    #[serde(default)]
    pub issuer: Option<String>,
    /// A PEM file with certificate authorities trusted beside those of the system.
    #[schemars(extend("examples" = ["/etc/revenprox/issuer-ca.crt"]))]
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// Who may judge a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The keys of `auth.keys`.
    Local,
    /// The sets of `auth.jwks`.
    Jwks,
    /// The webhook of `[jwt_verifier]`.
    Webhook,
}

/// A value of the claim `permissions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Permission {
    /// Subscribe to any topic.
    #[serde(rename = "topic:read")]
    Read,
    /// Publish to any topic.
    #[serde(rename = "topic:write")]
    Write,
}

/// How a shared secret is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretEncoding {
    /// The text's bytes are the secret.
    #[default]
    Text,
    /// Base64, in either alphabet, with or without padding.
    Base64,
}

/// A signature algorithm (RFC 7518, section 3.1, and RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[value(rename_all = "verbatim")]
#[expect(missing_docs, reason = "the names are the registered ones and say all there is to say")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

// === impl Auth ===

impl Default for Auth {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            jwks: Vec::new(),
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_sec: 30,
            order: vec![Method::Local, Method::Jwks, Method::Webhook],
            default_permissions: vec![Permission::Read],
            cookie_name: None,
            query_tokens: true,
            expiry_warning_sec: 60,
        }
    }
}

// === impl Jwks ===

impl Jwks {
    /// A source with the defaults.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            refresh_sec: Self::default_refresh_sec(),
            min_refresh_sec: Self::default_min_refresh_sec(),
            timeout_ms: Self::default_timeout_ms(),
            algorithms: Vec::new(),
            issuer: None,
            ca_file: None,
        }
    }

    fn default_refresh_sec() -> u64 {
        300
    }

    fn default_min_refresh_sec() -> u64 {
        10
    }

    fn default_timeout_ms() -> u64 {
        5000
    }
}

// === impl Algorithm ===

impl Algorithm {
    /// Every supported algorithm.
    pub const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// Whether the key is a shared secret.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    /// The registered name, as it stands in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}
