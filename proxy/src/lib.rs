//! RevenProx: a brokerless, horizontally scalable Server-Sent-Events proxy.

pub mod cli;
pub mod client;
pub mod config;
pub mod topic;
