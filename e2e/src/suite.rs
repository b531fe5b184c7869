//! The whole of an end-to-end run: cluster, images, tests, and the way back.

use std::ffi::OsStr;
use std::process::Command;

use crate::cluster::layout::Layout;
use crate::cluster::phases::Phases;
use crate::cluster::{ClusterError, down, preflight, up};
use crate::command::{self, CommandError};
use crate::image::project::{ALL, BuildError, Profile, ProjectImage};
use crate::{harness, project};

/// Why a run did not pass.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// An image.
    #[error(transparent)]
    Image(#[from] BuildError),
    /// The tests failed, or could not be built.
    #[error("end-to-end tests did not pass: {0}")]
    Tests(CommandError),
    /// The tests failed, and so did taking the cluster down.
    #[error("{0}; and then: {1}")]
    Both(Box<Self>, ClusterError),
}

/// Runs the end-to-end tests on the cluster that `KUBECONFIG` names, or on one brought up for them.
/// A cluster that was not up before is taken down afterwards, unless `KEEP=1` is set.
pub async fn test(layout: &Layout, profile: Profile, arguments: &[String]) -> Result<(), SuiteError> {
    if harness::is_foreign(layout) {
        return run_tests(arguments);
    }
    // What takes longest comes before the cluster, which would only wait; what fails soonest before that.
    preflight::check_machine().map_err(ClusterError::from)?;
    build_images(ALL, profile, None)?;
    let was_up = layout.state().exists();
    let result = match up::up(layout).await {
        Ok(()) => load_images(ALL, layout).and_then(|()| run_tests(arguments)),
        Err(error) => Err(error.into()),
    };
    if was_up || harness::keeps() {
        return result;
    }
    match (result, down::down(layout).await) {
        (result, Ok(())) => result,
        (Ok(()), Err(error)) => Err(error.into()),
        (Err(first), Err(second)) => Err(SuiteError::Both(Box::new(first), second)),
    }
}

/// Builds images, and imports them into the cluster of a layout.
pub fn build_images(
    images: &[ProjectImage],
    profile: Profile,
    load: Option<&Layout>,
) -> Result<(), SuiteError> {
    let mut phases = Phases::start();
    for image in images {
        let written = image.build(profile)?;
        let archive = image.archive();
        let megabytes = written.layer_bytes as f64 / 1e6;
        let result = format!("{megabytes:.1} MB, {}, {}", written.digest, archive.display());
        phases.end(&format!("image {}", image.name), result);
    }
    load.map_or(Ok(()), |layout| load_images(images, layout))
}

/// Imports images that were built before.
fn load_images(images: &[ProjectImage], layout: &Layout) -> Result<(), SuiteError> {
    let mut phases = Phases::start();
    for image in images {
        up::load_image(layout, &image.archive())?;
        phases.end("loaded as", image.reference);
    }
    Ok(())
}

/// Runs the tests in a process of cargo, with their output passed on.
fn run_tests(arguments: &[String]) -> Result<(), SuiteError> {
    let mut cargo = Command::new(project::cargo());
    cargo.current_dir(project::root()).env("CARGO_TARGET_DIR", project::target());
    cargo.args(["test", "--locked", "--package", "e2e", "--features", "cluster"]);
    cargo.args(["--test", "cluster", "--test", "operator", "--"]);
    cargo.args(arguments.iter().map(OsStr::new));
    command::pass_through(&mut cargo).map_err(SuiteError::Tests)
}
