//! Tests of the operator on a real Kubernetes. Each has an operator of its own, installed by the chart for the test's namespace only.

#![allow(clippy::print_stdout, reason = "what is measured is shown")]

mod chart;
mod config;
mod drift;
mod lifecycle;
mod load;
mod many;
mod optional;
mod refused;
mod rollout;
mod samples;
mod scaling;
mod support;
mod traces;
