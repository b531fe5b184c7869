//! The operator: from a `RevenProxCluster` to running proxies.
//!
//! A look at a cluster takes five steps. Those in the middle are pure: data in, data out, no client, no clock.
//!
//! | step | module | what |
//! |---|---|---|
//! | see | `watched`, `secrets`, [`pods`] | what is there, and what the proxies say |
//! | validate | [`validate`](mod@validate) | whether the resource can be built, and everything that is wrong with it |
//! | build | [`build`](mod@build), [`decide`] | the objects that it consists of, and what to do about running pods |
//! | apply | `apply` | server-side apply of what is not as it is to be |
//! | report | [`status`](mod@status) | conditions, counts and Events |
//!
//! `reconcile` is these steps in order, `controller` says when, [`lease`] by whom.

pub mod admin;
mod apply;
pub mod ask;
pub mod build;
pub mod cli;
pub mod controller;
pub mod crd;
pub mod decide;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod pods;
pub mod process;
mod reconcile;
mod secrets;
pub mod status;
pub mod traces;
pub mod validate;
mod watched;
