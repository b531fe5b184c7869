//! The mesh: what makes many proxies one system.
//!
//! The core is a state machine without I/O and without a clock: time, messages and local changes go in,
//! effects come out. A process drives it with NNG sockets and the system clock; a simulator drives hundreds of
//! them in one thread with a seeded scheduler. Neither knows of HTTP or of how events are delivered here.
//!
//! | module | what |
//! |---|---|
//! | [`alarm`] | when to look again |
//! | [`identity`] | who an instance is: name, incarnation, addresses |
//! | [`discovery`] | where other instances are: a list, DNS, Kubernetes |
//! | [`interest`] | which topics each instance has subscribers for |
//! | [`facts`] | what all instances hold until it expires |
//! | [`keepers`] | which instances keep a topic's history |
//! | [`merkle`] | how two copies of a state are compared |
//! | [`node`] | one instance's part in all of it |
//! | [`seal`] | the envelope that authenticates and encrypts |
//! | `transport` | NNG, with the feature `transport` |
//! | [`wire`] | what instances say to each other |
//! | [`link`] | the reliable way of frames from one instance to another |

pub mod alarm;
pub mod discovery;
pub mod facts;
pub mod identity;
pub mod interest;
pub mod keepers;
pub mod link;
pub mod merkle;
pub mod node;
pub mod seal;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(feature = "transport")]
pub mod transport;
pub mod wire;

use std::time::Duration;

/// The two clocks of an instance, read once for everything that is done with one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Time since an arbitrary start that never goes back; for intervals and time-outs.
    pub elapsed: Duration,
    /// Milliseconds since the Unix epoch by the system clock; for what other instances read too.
    pub unix_ms: u64,
}
