//! RevenProx: a brokerless, horizontally scalable Server-Sent-Events proxy.

mod admin;
pub mod admission;
pub mod auth;
pub mod canary;
pub mod cli;
pub mod client;
pub mod config;
mod debug;
pub mod delivery;
pub mod edge;
pub mod event;
pub mod governor;
pub mod hub;
pub mod log;
pub mod mesh;
pub mod metrics;
pub mod ops;
pub mod revocation;
pub mod server;
#[cfg(test)]
mod sim;
pub mod telemetry;
pub mod topic;
