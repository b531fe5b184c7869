//! The one error type of the program: what was being done, and why it failed.

use std::io;

/// The result of anything in this program that can fail.
pub(crate) type Result<T> = std::result::Result<T, BenchError>;

/// Why a run cannot go on, or why its figures must not be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, as a gerund phrase.
        doing: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A server, a client or a publisher did not do what the run needs.
    #[error("{0}")]
    Run(String),
    /// Deliveries did not match what was published.
    #[error("deliveries do not match: {0}")]
    Mismatch(String),
}

/// Adds to a failed system call what was being done.
pub(crate) trait Doing<T> {
    /// Turns the error into a [`BenchError::Io`] that names the activity.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| BenchError::Io { doing: what(), source: source.into() })
    }
}

/// A [`BenchError::Run`] from anything printable.
pub(crate) fn failed(text: impl Into<String>) -> BenchError {
    BenchError::Run(text.into())
}
