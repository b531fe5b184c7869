//! Container images without a container daemon: what an image holds, and its archive in the OCI
//! image layout, byte for byte the same for the same contents.

use std::path::PathBuf;
use std::{fs, io};

pub mod archive;
pub mod dockerfile;
pub mod project;

/// User and group of every process in our images: not root, and not a user of any usual host.
pub const USER: &str = "65532:65532";

/// An image: one layer of files, and how its process is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Fully qualified name and tag, such as `localhost/revenprox/proxy:dev`.
    pub reference: String,
    /// The files, in any order.
    pub files: Vec<File>,
    /// How its process is started.
    pub run: Run,
}

/// A regular file in an image. Its parent directories are implied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path in the image.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Where its contents are.
    pub source: Source,
}

/// Contents of a file in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of this machine.
    Path(PathBuf),
    /// The bytes themselves.
    Bytes(Vec<u8>),
}

/// What a container runtime needs to start the process: the part of an image's configuration that is ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Program and fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that a user may replace.
    pub command: Vec<String>,
    /// User and group as `uid:gid`.
    pub user: String,
    /// Environment as `NAME=value`.
    pub environment: Vec<String>,
    /// Ports as `8080/tcp`.
    pub ports: Vec<String>,
    /// Labels, by name.
    pub labels: Vec<(String, String)>,
    /// Signal that asks the process to end, where it is not SIGTERM.
    pub stop_signal: Option<String>,
}

// === impl Source ===

impl Source {
    /// The contents.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Path(path) => fs::read(path),
            Self::Bytes(bytes) => Ok(bytes.clone()),
        }
    }
}
