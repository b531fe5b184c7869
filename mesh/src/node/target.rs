//! Addresses that are dialled, and who is found there.

use std::time::Duration;

use crate::identity::NodeId;

/// An address, and what is known of it.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// Discovery names it; otherwise another instance did.
    pub(super) discovered: bool,
    /// The link is up.
    pub(super) up: bool,
    /// Who is there.
    pub(super) id: Option<NodeId>,
    /// Why it is not dialled, if it is not.
    pub(super) idle: Option<Idle>,
    /// When to say hello next, while it is not known who is there.
    pub(super) hello_at: Duration,
    /// When it became known, or its peer went away.
    pub(super) since: Duration,
}

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// This instance is there.
    Own,
    /// The same peer is reached at another address.
    Alias,
}

// === impl Target ===

impl Target {
    /// Whether somebody is there of whom it is not known who.
    pub(super) fn is_stranger(&self) -> bool {
        self.up && self.id.is_none() && self.idle.is_none()
    }
}
