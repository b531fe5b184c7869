//! How far long work has come, on a line of the terminal that is written again and again.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// How often the line is written anew at most.
const INTERVAL: Duration = Duration::from_millis(200);

/// Shows progress while it exists; where nobody would see it, does nothing.
#[derive(Debug)]
pub(super) struct Progress {
    wanted: bool,
    shown: Option<Instant>,
}

// === impl Progress ===

impl Progress {
    /// Progress goes to a terminal at the standard error, if the output itself does not go to one: there it shows by
    /// itself.
    pub(super) fn new(quiet: bool) -> Self {
        let wanted = !quiet && io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self { wanted, shown: None }
    }

    /// Tells how much is done, of all if that is known.
    pub(super) fn show(&mut self, done: u64, of: Option<u64>) {
        if !self.wanted || self.shown.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
        // Who does not see it misses nothing else.
        let _ = write!(io::stderr(), "\r\u{1b}[K{done}{of} events");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
