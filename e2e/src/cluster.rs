//! A Kubernetes of one node on this machine: bring-up, tear-down and state.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::{fs, io};

pub mod cgroup;
pub mod credentials;
pub mod down;
pub mod layout;
pub mod leftovers;
pub mod mounts;
pub mod network;
pub mod parts;
pub mod phases;
pub mod preflight;
pub mod probe;
pub mod process;
pub mod programs;
pub mod record;
pub mod selftest;
pub mod snapshot;
pub mod status;
pub mod up;

use layout::Layout;

use crate::command::CommandError;
use crate::image::archive::ArchiveError;

/// Why the cluster could not be brought up, taken down or used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A place that cannot be used.
    #[error(transparent)]
    Layout(#[from] layout::LayoutError),
    /// A machine that cannot have one.
    #[error(transparent)]
    Preflight(#[from] preflight::PreflightError),
    /// A program that could not be built.
    #[error(transparent)]
    Program(#[from] programs::ProgramError),
    /// A tool that failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// An image archive that could not be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Something in the file system, kernel or process table.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A part that does not work.
    #[error("{complaint}; see {}{}", .log.display(), tail(.log))]
    Part {
        /// What it said, or did not.
        complaint: String,
        /// Its log.
        log: PathBuf,
    },
    /// Something else than one part that does not work.
    #[error("{0}")]
    NotWorking(String),
}

/// Says what was tried when the system refuses.
trait What<T> {
    fn what(self, what: impl Into<String>) -> Result<T, ClusterError>;
}

impl<T> What<T> for io::Result<T> {
    fn what(self, what: impl Into<String>) -> Result<T, ClusterError> {
        self.map_err(|source| ClusterError::System { what: what.into(), source })
    }
}

/// Waits until no other bring-up or tear-down runs. The lock is held until the file is dropped.
fn lock(layout: &Layout) -> Result<File, ClusterError> {
    let what = || format!("use {} as a cache", layout.cache().display());
    fs::create_dir_all(layout.cache()).what(what())?;
    let file = File::create(layout.cache().join("cluster.lock")).what(what())?;
    file.lock().what(what())?;
    Ok(file)
}

/// The last lines of a log, for the error that names it.
fn tail(log: &Path) -> String {
    const LINES: usize = 5;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().flat_map(|line| ["\n  ", line]).collect()
}
