//! Command line of the end-to-end cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use e2e::cluster::layout::Layout;
use e2e::cluster::{self, ClusterError};

/// A real Kubernetes on one machine for the end-to-end tests.
#[derive(Parser)]
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
    /// Import image archives.
    LoadImage {
        /// OCI or Docker archives.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the path of the cluster's client configuration.
    Kubeconfig,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse().action).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("e2e: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(action: Action) -> Result<ExitCode, ClusterError> {
    let layout = Layout::from_env()?;
    match action {
        Action::Up => cluster::up::up(&layout).await?,
        Action::Down => cluster::down::down(&layout).await?,
        Action::Status => {
            let status = cluster::status::status(&layout).await;
            status.lines.iter().for_each(|line| println!("{line}"));
            status.complaints.iter().for_each(|line| println!("WRONG: {line}"));
            return Ok(if status.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Action::LoadImage { files } => {
            files.iter().try_for_each(|file| cluster::up::load_image(&layout, file))?;
        }
        Action::Kubeconfig => println!("{}", layout.kubeconfig().display()),
    }
    Ok(ExitCode::SUCCESS)
}
