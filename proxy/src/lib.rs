//! RevenProx: a brokerless, horizontally scalable Server-Sent-Events proxy.

pub mod topic;
