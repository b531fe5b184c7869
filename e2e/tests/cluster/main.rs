//! Tests that need a Kubernetes. `make test` and `cargo run -p e2e -- test` bring one up first.

mod discovery;
mod harness;
mod proxy;
