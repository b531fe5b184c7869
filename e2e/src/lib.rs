//! A real Kubernetes on one machine, and what tests need to work on it.
//!
//! [`cluster`] brings it up and takes it down, [`image`] makes container images without a
//! container daemon, [`harness`] is what the tests themselves are written with.

pub mod cluster;
pub mod command;
pub mod harness;
pub mod image;
pub mod project;
pub mod suite;
