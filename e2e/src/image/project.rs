//! The project's own images: the table of them, and how their programs are built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::archive::{self, ArchiveError, Written};
use super::dockerfile::{self, DockerfileError, Origin};
use super::{Image, Source};
use crate::command::{self, CommandError};
use crate::project;

/// Every image of the project.
pub const ALL: &[ProjectImage] = &[
    ProjectImage {
        name: "proxy",
        package: "revenprox-proxy",
        binary: "sse-proxy",
        reference: "localhost/revenprox/proxy:dev",
    },
    ProjectImage {
        name: "operator",
        package: "revenprox-operator",
        binary: "revenprox-operator",
        reference: "localhost/revenprox/operator:dev",
    },
];

/// One image: a stage of the `Dockerfile` around one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectImage {
    /// Its stage in the `Dockerfile`, and its name here.
    pub name: &'static str,
    /// The Cargo package that holds its program.
    pub package: &'static str,
    /// The program.
    pub binary: &'static str,
    /// Name and tag of the image as pods use it.
    pub reference: &'static str,
}

/// How the programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// As they are shipped.
    Release,
    /// Quickly, while working on them.
    Dev,
}

/// An image that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo failed.
    #[error(transparent)]
    Cargo(#[from] CommandError),
    /// The `Dockerfile` could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The `Dockerfile` could not be followed.
    #[error(transparent)]
    Dockerfile(#[from] DockerfileError),
    /// The archive could not be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

// === impl ProjectImage ===

impl ProjectImage {
    /// The image of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        ALL.iter().find(|image| image.name == name).copied()
    }

    /// Where its archive is written.
    pub fn archive(&self) -> PathBuf {
        project::target().join("images").join(format!("{}.tar", self.name))
    }

    /// Compiles the program and writes the archive.
    pub fn build(&self, profile: Profile) -> Result<Written, BuildError> {
        let program = self.compile(profile)?;
        let path = project::root().join("Dockerfile");
        let text = fs::read_to_string(&path).map_err(|source| BuildError::Read { path, source })?;
        let stage = dockerfile::stage(&text, self.name, |origin, file| self.locate(&program, origin, file))?;
        let image = Image { reference: self.reference.to_owned(), files: stage.files, run: stage.run };
        Ok(archive::write(&image, &self.archive())?)
    }

    /// Compiles the program as the `Dockerfile` does: linked statically, so that the image needs
    /// nothing beside it. That takes an explicit target, because compiler plug-ins of the same
    /// build are dynamic libraries. The programs of all images are built together, as there:
    /// apart they would turn on other features, and what they share would be compiled for each.
    fn compile(&self, profile: Profile) -> Result<PathBuf, BuildError> {
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let (profile_name, folder) = match profile {
            Profile::Release => ("release", "release"),
            Profile::Dev => ("dev", "debug"),
        };
        let mut cargo = Command::new(project::cargo());
        cargo.current_dir(project::root()).args(["build", "--quiet", "--locked", "--target", &target]);
        cargo.args(["--profile", profile_name]);
        cargo.args(ALL.iter().flat_map(|image| ["--package", image.package, "--bin", image.binary]));
        cargo.args(["--config", &format!("profile.{profile_name}.strip=true")]);
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_TARGET_DIR", project::target());
        command::pass_through(&mut cargo)?;
        Ok(project::target().join(target).join(folder).join(self.binary))
    }

    /// Finds here what the `Dockerfile` copies there.
    fn locate(&self, program: &Path, origin: Origin, file: &str) -> Result<Source, String> {
        let path = match origin {
            Origin::Context => project::root().join(file),
            Origin::Build if file == format!("/out/{}", self.binary) => program.to_owned(),
            Origin::Build if file.starts_with("/etc/ssl/") => PathBuf::from(file),
            Origin::Build => return Err(format!("the build outside Docker makes no {file}")),
        };
        if path.is_file() { Ok(Source::Path(path)) } else { Err(format!("{} is not there", path.display())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_describes_every_image() {
        let text = fs::read_to_string(project::root().join("Dockerfile")).unwrap();
        for image in ALL {
            let stage = dockerfile::stage(&text, image.name, |_, _| Ok(Source::Bytes(Vec::new()))).unwrap();
            assert_eq!(
                stage.run.user,
                super::super::USER,
                "{}: not root, and the same everywhere",
                image.name
            );
            let program = stage.run.entrypoint.first().unwrap();
            assert!(program.ends_with(image.binary), "{}: starts {program}", image.name);
            assert!(stage.files.iter().any(|file| file.path == *program && file.mode == 0o755));
        }
    }
}
