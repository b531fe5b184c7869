//! RevenProx: a brokerless, horizontally scalable Server-Sent-Events proxy.

pub mod auth;
pub mod config;
pub mod topic;
