//! Command line of the end-to-end cluster, its images and its tests.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command-line program")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use e2e::cluster::layout::Layout;
use e2e::cluster::{down, selftest, status, up};
use e2e::image::project::{ALL, Profile, ProjectImage};
use e2e::{harness, suite};

/// A real Kubernetes on one machine, and the end-to-end tests that run on it.
///
/// The cluster's state is in /var/lib/revenprox-e2e, or in the folder that `REVENPROX_E2E_STATE`
/// names; built programs are kept in `$XDG_CACHE_HOME/revenprox`. With `KUBECONFIG` set to another
/// cluster the tests use that one.
#[derive(Parser)]
#[command(name = "e2e")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Bring the cluster up, or heal it.
    Up,
    /// Take it down and leave nothing behind.
    Down,
    /// Say whether it works, and what is wrong with it.
    Status,
    /// Print the path of the cluster's client configuration.
    Kubeconfig,
    /// Import image archives.
    LoadImage {
        /// OCI or Docker archives.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Build the project's images as OCI archives.
    Image {
        /// Which of them; all if none is named.
        #[arg(value_parser = image_by_name)]
        names: Vec<ProjectImage>,
        /// How their programs are compiled.
        #[arg(long, value_enum, default_value = "release")]
        profile: Profile,
        /// Import them into the cluster too.
        #[arg(long)]
        load: bool,
    },
    /// Run the end-to-end tests: bring the cluster up, build and load the images, test, and take
    /// down what was not up before, unless KEEP=1 is set.
    Test {
        /// How the programs in the images are compiled.
        #[arg(long, value_enum, default_value = "release")]
        profile: Profile,
        /// Arguments for the test program, such as a filter.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Break a cluster in every way and check that it heals and leaves nothing behind.
    Selftest,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Box::pin(run(Arguments::parse().action)).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("e2e: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(action: Action) -> Result<ExitCode, Box<dyn Error>> {
    let layout = Layout::from_env()?;
    match action {
        Action::Up if harness::is_foreign(&layout) => {
            println!("KUBECONFIG names another cluster: nothing to bring up");
        }
        Action::Up => up::up(&layout).await?,
        Action::Down => down::down(&layout).await?,
        Action::Status => {
            let status = status::status(&layout).await;
            status.lines.iter().for_each(|line| println!("{line}"));
            status.complaints.iter().for_each(|line| println!("WRONG: {line}"));
            return Ok(if status.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Action::Kubeconfig => println!("{}", layout.kubeconfig().display()),
        Action::LoadImage { files } => files.iter().try_for_each(|file| up::load_image(&layout, file))?,
        Action::Image { names, profile, load } => {
            let images = if names.is_empty() { ALL.to_vec() } else { names };
            suite::build_images(&images, profile, load.then_some(&layout))?;
        }
        Action::Test { profile, arguments } => suite::test(&layout, profile, &arguments).await?,
        Action::Selftest => Box::pin(selftest::selftest(&layout)).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn image_by_name(name: &str) -> Result<ProjectImage, String> {
    ProjectImage::by_name(name).ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().map(|image| image.name).collect();
        format!("the images are {}", known.join(", "))
    })
}
