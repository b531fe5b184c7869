//! Authentication against real servers: a webhook and JWKS on loopback, over HTTP and TLS.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

mod jwks;
mod local;
mod reload;
mod support;
mod tls;
mod webhook;
