//! What is wrong with a configuration, and where.

use std::{fmt, sync::Arc};

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// The dotted key, as in `http.bind_address`; empty if it is the file as a whole.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
    /// The known key, word or variable that was probably meant.
    pub nearest: Option<String>,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere in particular: a key that is missing, or a file that cannot be read.
    Whole(Arc<str>),
    /// At a line and column of a file, both from 1, the column in characters.
    At {
        /// The file as it was named.
        file: Arc<str>,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// In an environment variable.
    Variable(Arc<str>),
}

// === impl Problem ===

impl Problem {
    pub(crate) fn new(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place, key: key.into(), message: message.into(), nearest: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.nearest {
            Some(nearest) => write!(f, " (did you mean {nearest}?)"),
            None => Ok(()),
        }
    }
}

// === impl Place ===

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(name) | Self::Variable(name) => f.write_str(name),
            Self::At { file, line, column } => write!(f, "{file}:{line}:{column}"),
        }
    }
}
