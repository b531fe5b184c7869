//! Names what is being done and prints how long it took.

use std::fmt::Display;
use std::time::Instant;

/// Prints one line for each phase.
#[derive(Debug)]
pub struct Phases {
    start: Instant,
    phase: Instant,
}

// === impl Phases ===

impl Phases {
    /// Starts the clock.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { start: now, phase: now }
    }

    /// Ends a phase: prints its name, its time and what came of it.
    #[allow(clippy::print_stdout, reason = "progress of a command-line program")]
    pub fn end(&mut self, name: &str, result: impl Display) {
        println!("{name:<24} {:>7.2} s  {result}", self.phase.elapsed().as_secs_f64());
        self.phase = Instant::now();
    }

    /// Prints the time of all phases together.
    pub fn finish(self, result: &str) {
        let mut all = Self { start: self.start, phase: self.start };
        all.end(result, "in all");
    }
}
