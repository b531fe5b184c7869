//! The proxy as a child process, and clients of which every byte is under control.

pub(crate) mod client;
pub(crate) mod proxy;
pub(crate) mod secure;
pub(crate) mod stream;

use std::{
    thread,
    time::{Duration, Instant},
};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;

pub(crate) use self::{
    client::{Client, Response},
    proxy::Proxy,
    stream::Stream,
};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A shared secret of the length that HS256 needs.
pub(crate) const SECRET: &str = "a secret of at least thirty-two bytes";

/// Waits until a condition holds that nothing reports.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still waiting for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A token with these claims, signed with [`SECRET`].
pub(crate) fn token(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    revenprox_proxy::hub::now_ms() / 1000
}

/// The configuration under which tokens signed with [`SECRET`] are needed.
pub(crate) fn with_tokens(more: &str) -> String {
    format!(
        "[jwt_verifier]\nrequire_authentication = true\n[auth]\nkeys = [{{ algorithm = \"HS256\", secret = \"{SECRET}\" }}]\n{more}"
    )
}
