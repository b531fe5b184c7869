//! The floor as a target.

use super::{START_LIMIT, Server, Setup, directory};
use crate::error::{Doing, Result, failed};
use crate::floor::Addresses;
use crate::proc::Guarded;
use crate::publish::{Endpoint, Style};

/// A variant of the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    coalesce: bool,
    threads: u16,
}

// === impl Floor ===

impl Floor {
    /// `floor`, `floor-2`, `floor-coalescing`, `floor-coalescing-2` …
    pub(super) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("floor")?;
        let (coalesce, rest) = match rest.strip_prefix("-coalescing") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let threads = if rest.is_empty() { 1 } else { rest.strip_prefix('-')?.parse().ok()? };
        (1..=64).contains(&threads).then_some(Self { coalesce, threads })
    }

    pub(super) fn name(self) -> String {
        let mode = if self.coalesce { "-coalescing" } else { "" };
        if self.threads == 1 { format!("floor{mode}") } else { format!("floor{mode}-{}", self.threads) }
    }

    pub(super) fn coalesces(self) -> bool {
        self.coalesce
    }

    pub(super) fn start(self, setup: &Setup) -> Result<Server> {
        let directory = directory()?;
        let me = std::env::current_exe().doing(|| "finding this program's own path".into())?;
        let mode = if self.coalesce { "coalesce" } else { "each" };
        let mut args: Vec<String> =
            ["floor", "--mode", mode, "--threads", &self.threads.to_string()].map(Into::into).into();
        if setup.need == super::Need::Resume {
            args.push("--keep-log".into());
        }
        if setup.need == super::Need::Slow {
            args.extend(["--patience-ms".into(), "50".into()]);
        }
        let mut process = Guarded::spawn(&self.name(), &me, &args, &directory.path().join("log"))?;
        let log = directory.path().join("log");
        let listens = || std::fs::read_to_string(&log).is_ok_and(|t| t.ends_with('\n'));
        process.wait_until(START_LIMIT, listens)?;
        let addresses: Addresses = serde_json::from_str(process.log_text().trim())
            .map_err(|e| failed(format!("the floor's addresses: {e}")))?;
        Ok(Server {
            process,
            publish: Endpoint { style: Style::Floor, addresses: addresses.publish },
            subscribe: addresses.subscribe,
            path: "/events/{topic}".into(),
            metrics: None,
            helpers: Vec::new(),
            _directory: directory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["floor", "floor-2", "floor-coalescing", "floor-coalescing-4"] {
            assert_eq!(Floor::parse(name).unwrap().name(), name);
        }
        for name in ["floors", "floor-0", "floor-x", "nchan"] {
            assert_eq!(Floor::parse(name), None, "{name}");
        }
    }
}
