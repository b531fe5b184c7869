//! Texts that must not be printed.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands in for a secret wherever one would be shown.
pub const REDACTED: &str = "[redacted]";

/// A text that `Debug` does not show and that [`Config::effective`](super::Config::effective) leaves out.
/// Serialising it gives the text, so that a configuration survives being written and read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("x-secret" = true, "minLength" = 1))]
pub struct Secret(String);

// === impl Secret ===

impl Secret {
    /// Marks a text as secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}
