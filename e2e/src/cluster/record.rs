//! What is written down about each running part, so that a later call can find it, judge it and stop it.

use std::path::PathBuf;
use std::{fs, io};

use sha2::{Digest as _, Sha256};

use super::layout::Layout;
use super::parts::{CommandLine, Part};
use super::process::Identity;
use crate::image::archive::hex;

/// A part that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its process.
    pub process: Identity,
    /// Fingerprint of its command line and settings.
    pub fingerprint: String,
}

// === impl Record ===

impl Record {
    /// The record of a part, if it was started and not stopped.
    pub fn read(layout: &Layout, part: Part) -> Option<Self> {
        let text = fs::read_to_string(path(layout, part)).ok()?;
        let (process, fingerprint) = text.trim().rsplit_once(' ')?;
        Some(Self { process: process.parse().ok()?, fingerprint: fingerprint.to_owned() })
    }

    /// Writes it down.
    pub fn write(&self, layout: &Layout, part: Part) -> io::Result<()> {
        let Self { process: Identity { pid, start }, fingerprint } = self;
        fs::write(path(layout, part), format!("{pid} {start} {fingerprint}\n"))
    }

    /// Forgets a part that was stopped.
    pub fn remove(layout: &Layout, part: Part) -> io::Result<()> {
        match fs::remove_file(path(layout, part)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// Fingerprint of how a part is to be started now: another one means that it has to be started anew.
pub fn fingerprint(line: &CommandLine, settings: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(line.program.as_os_str().as_encoded_bytes());
    for argument in &line.arguments {
        hash.update([0]);
        hash.update(argument);
    }
    hash.update([0]);
    hash.update(settings);
    hex(&hash.finalize())[..16].to_owned()
}

/// Where a part writes its log.
pub fn log(layout: &Layout, part: Part) -> PathBuf {
    layout.at(&format!("log/{}.log", part.name()))
}

fn path(layout: &Layout, part: Part) -> PathBuf {
    layout.at(&format!("run/{}.pid", part.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_argument_or_setting_gives_another_fingerprint() {
        let line = |arguments: &[&str]| CommandLine {
            program: PathBuf::from("/bin/x"),
            arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
        };
        let first = fingerprint(&line(&["a", "b"]), "s");
        assert_eq!(first, fingerprint(&line(&["a", "b"]), "s"));
        for other in [(line(&["ab"]), "s"), (line(&["a"]), "s"), (line(&["a", "b"]), "t")] {
            assert_ne!(first, fingerprint(&other.0, other.1));
        }
    }
}
