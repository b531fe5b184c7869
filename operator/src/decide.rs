//! What is to be done about running proxies, decided from what is seen. Pure.

pub mod replicas;
pub mod rollout;
pub mod scaling;
