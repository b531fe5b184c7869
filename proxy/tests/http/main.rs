//! Runs the real binary and talks to it over sockets, as clients, back ends, load balancers and attackers do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stderr, reason = "a test that fails shows the log of the proxy")]

mod admin;
mod backpressure;
mod debug;
mod descriptors;
mod drain;
mod forms;
mod framing;
mod hostile;
mod limits;
mod mesh;
mod proxied;
mod publish;
mod reload;
mod replay;
mod seam;
mod subscribe;
mod support;
mod systemd;
mod tokens;
