//! What happens in a simulation, line by line, for whoever wants to know why a seed fails.

use std::{env, sync::LazyLock};

use super::clock;

/// Set to anything, it shows everything.
const TRACE: &str = "REVENPROX_SIM_TRACE";

static WANTED: LazyLock<bool> = LazyLock::new(|| env::var_os(TRACE).is_some());

/// Tells something, with the time by the clock of whom it happens to.
pub(super) fn tell(what: impl FnOnce() -> String) {
    if *WANTED {
        let now = clock::now_ms().map_or(String::new(), |ms| format!("{:.3}", (ms % 1_000_000) as f64 / 1e3));
        println!("{now:>9} {}", what());
    }
}
