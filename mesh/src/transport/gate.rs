//! What lets a socket close while its callbacks run.

use parking_lot::Mutex;

/// Operations begin through it until it is shut. Then those under way can be cancelled and waited for: without it, one
/// that a callback begins between the two would be waited for for ever.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_shut: Mutex<bool>,
}

// === impl Gate ===

impl Gate {
    /// Begins an operation, unless the gate is shut. Returns whether it did. NNG completes operations on threads of its
    /// own, so this does not wait for itself.
    pub(super) fn begin(&self, operation: impl FnOnce()) -> bool {
        let is_shut = self.is_shut.lock();
        if !*is_shut {
            operation();
        }
        !*is_shut
    }

    /// From when this returns no operation begins.
    pub(super) fn shut(&self) {
        *self.is_shut.lock() = true;
    }
}
