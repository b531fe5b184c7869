//! The programs that are built from Go modules, and their cache outside the source tree.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use sha2::{Digest as _, Sha256};

use super::layout::Layout;
use crate::command::{self, CommandError};
use crate::image::archive::hex;
use crate::project;

/// Version of Kubernetes that is built.
pub const KUBERNETES: &str = "1.34.4";

/// One program: a folder with a pinned module, and what is built there.
#[derive(Debug, Clone, Copy)]
struct Program {
    name: &'static str,
    package: &'static str,
    version: &'static str,
    link_flags: &'static [&'static str],
    /// Other names under which the program is called.
    links: &'static [&'static str],
}

const PROGRAMS: [Program; 4] = [
    Program {
        name: "kubernetes",
        package: ".",
        version: KUBERNETES,
        link_flags: &[
            "-X k8s.io/component-base/version.gitVersion=v1.34.4",
            "-X k8s.io/component-base/version.gitMajor=1",
            "-X k8s.io/component-base/version.gitMinor=34",
        ],
        links: &[
            "kube-apiserver",
            "kube-controller-manager",
            "kube-proxy",
            "kube-scheduler",
            "kubectl",
            "kubelet",
        ],
    },
    Program {
        name: "etcd",
        package: "go.etcd.io/etcd/server/v3",
        version: "3.6.16",
        link_flags: &[],
        links: &[],
    },
    Program {
        name: "helm",
        package: "helm.sh/helm/v3/cmd/helm",
        version: "3.22.0",
        link_flags: &["-X helm.sh/helm/v3/internal/version.version=v3.22.0"],
        links: &[],
    },
    Program { name: "pause", package: ".", version: "1", link_flags: &[], links: &[] },
];

/// Programs that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no Go.
    #[error(
        "go is needed to build Kubernetes and is not on the path ({0}); install Go 1.26 or later, or 1.21 or later with GOTOOLCHAIN=auto"
    )]
    NoGo(CommandError),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] CommandError),
    /// The cache could not be used.
    #[error("cannot use {path} as a cache for built programs: {source}")]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// The built programs: a folder each.
#[derive(Debug, Clone)]
pub struct Programs {
    folders: Vec<(&'static str, PathBuf)>,
    /// Names of those that were built just now rather than found in the cache.
    pub built: Vec<&'static str>,
}

// === impl Programs ===

impl Programs {
    /// Finds every program in the cache, and builds what is not there.
    pub fn prepare(layout: &Layout) -> Result<Self, ProgramError> {
        let go =
            command::output(Command::new("go").args(["env", "GOVERSION"])).map_err(ProgramError::NoGo)?;
        let mut programs = Self { folders: Vec::new(), built: Vec::new() };
        for program in PROGRAMS {
            let folder = layout.cache().join("programs").join(program.key(go.trim())?);
            if !folder.join(program.name).is_file() {
                program.build(&folder)?;
                programs.built.push(program.name);
            }
            programs.folders.push((program.name, folder));
        }
        Ok(programs)
    }

    /// Path of a program, under one of its names.
    pub fn path(&self, name: &str) -> PathBuf {
        let program = PROGRAMS.iter().find(|program| program.name == name || program.links.contains(&name));
        let program = program.expect("only names of the table above are asked for").name;
        let folder = self.folders.iter().find(|(known, _)| *known == program);
        folder.expect("every program of the table is prepared").1.join(name)
    }

    /// Folders to put on the path, so that kubectl and helm are found.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(|(_, folder)| folder.as_path())
    }
}

// === impl Program ===

impl Program {
    fn source(self) -> PathBuf {
        project::root().join("e2e/cluster").join(self.name)
    }

    /// Name of its cache folder: another source, flag or compiler gives another.
    fn key(self, go: &str) -> Result<String, ProgramError> {
        let mut hash = Sha256::new();
        hash.update(format!("{go} {} {}", self.package, self.flags()));
        for file in ["go.mod", "go.sum", "main.go"] {
            let path = self.source().join(file);
            match fs::read(&path) {
                Ok(bytes) => hash.update(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(ProgramError::Cache { path, source }),
            }
            hash.update([0]);
        }
        Ok(format!("{}-{}-{}", self.name, self.version, &hex(&hash.finalize())[..12]))
    }

    fn flags(self) -> String {
        let mut flags = "-s -w".to_owned();
        for flag in self.link_flags {
            flags.push(' ');
            flags.push_str(flag);
        }
        flags
    }

    /// Builds beside the final folder and renames, so that an interrupted build leaves no half program.
    fn build(self, folder: &Path) -> Result<(), ProgramError> {
        let cache = |source| ProgramError::Cache { path: folder.to_owned(), source };
        let parent = folder.parent().expect("a cache folder has a parent");
        fs::create_dir_all(parent).map_err(cache)?;
        let work = tempfile::tempdir_in(parent).map_err(cache)?;
        let mut go = Command::new("nice");
        go.args([
            "-n",
            "10",
            "go",
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-mod=readonly",
            "-ldflags",
            &self.flags(),
            "-o",
        ]);
        go.arg(work.path().join(self.name)).arg(self.package).current_dir(self.source());
        announce(&format!("building {} {}; this takes minutes the first time", self.name, self.version));
        // Its output is a long list of modules, of interest only if it fails.
        command::output(go.env("CGO_ENABLED", "0"))?;
        for link in self.links {
            std::os::unix::fs::symlink(self.name, work.path().join(link)).map_err(cache)?;
        }
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(cache)?;
        }
        fs::rename(work.keep(), folder).map_err(cache)
    }
}

/// Tells the person who waits.
#[allow(clippy::print_stdout, reason = "progress of a command-line program")]
fn announce(text: &str) {
    println!("{text}");
}
