//! What operators see of a running proxy: metrics, probes, traces and logs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod collector;
mod logs;
mod metrics;
mod probes;
mod support;
mod traces;
