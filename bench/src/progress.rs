//! What is going on, for a person at the terminal; tables go to standard output alone.

use std::io::Write as _;

/// Tells a whole step.
pub(crate) fn step(text: &str) {
    write(&format!("{text}\n"));
}

/// Writes a part of a line.
pub(crate) fn write(text: &str) {
    let mut err = std::io::stderr();
    // Nobody need see it.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
