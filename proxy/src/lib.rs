//! RevenProx: a brokerless, horizontally scalable Server-Sent-Events proxy.

pub mod admission;
pub mod config;
pub mod delivery;
pub mod event;
pub mod hub;
pub mod log;
pub mod topic;
