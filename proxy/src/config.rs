//! The configuration, which is the crate `revenprox-config`, and what follows its changes while the proxy runs.

pub mod watch;

pub use revenprox_config::*;

pub use self::watch::{Reloads, Watcher};
