//! Measures the proxy: memory, fan-out, unicast, connects, slow consumers and replay, each beside a floor measured in
//! the same run, and on request beside other servers. Everything happens on loopback, in processes that end with
//! this one.

mod client;
mod clock;
mod cluster;
mod error;
mod floor;
mod httpd;
mod ledger;
mod mesh;
mod proc;
mod progress;
mod publish;
mod report;
mod scenario;
mod simulate;
mod stats;
mod table;
mod target;
mod wire;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Doing, Result, failed};
use crate::scenario::RunArgs;
use crate::target::Target;

#[derive(Parser)]
#[command(version, about, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Measures the proxy beside nchan, pushpin and durable-streams.
    Peers(RunArgs),
    /// Spreads many subscribers over many instances of one mesh.
    Cluster(cluster::ClusterArgs),
    /// Runs the floor by itself.
    Floor(floor::FloorArgs),
    /// Measures one hop of the mesh beside bare pipes.
    Mesh(mesh::MeshArgs),
    /// The receiving process of that; started by this program.
    #[command(hide = true)]
    MeshPeer(mesh::PeerArgs),
    /// Simulates clusters of many instances: traffic of their state, forwards in vain, time until a new one is in.
    Simulate(simulate::SimulateArgs),
    /// A client process; started by this program.
    #[command(hide = true)]
    Worker,
    /// Becomes another program that ends with its parent; started by this program.
    #[command(hide = true)]
    Exec {
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => measure(&cli.run),
        Some(Command::Peers(mut args)) => {
            if args.targets.is_empty() {
                args.targets = vec![Target::Proxy, Target::DurableStreams, Target::Nchan, Target::Pushpin];
            }
            measure(&args)
        }
        Some(Command::Cluster(args)) => cluster::run(&args),
        Some(Command::Floor(args)) => floor::run(&args),
        Some(Command::Mesh(args)) => mesh::run(&args),
        Some(Command::MeshPeer(args)) => mesh::run_peer(&args),
        Some(Command::Simulate(args)) => simulate::run(&args),
        Some(Command::Worker) => client::run_worker(),
        Some(Command::Exec { program, args }) => proc::exec(&program, &args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &RunArgs) -> Result<()> {
    let machine = proc::MachineMark::now();
    let mut report = scenario::run(args);
    report.note(format!("other programs used {:.2} cores meanwhile", machine.others_until_now()));
    let text = table::render(&report);
    std::io::stdout().write_all(text.as_bytes()).doing(|| "printing the table".into())?;
    if let Some(file) = &args.json {
        let json = serde_json::to_vec_pretty(&report).map_err(|e| failed(format!("writing JSON: {e}")))?;
        std::fs::write(file, json).doing(|| format!("writing {}", file.display()))?;
    }
    if report.failures.is_empty() {
        Ok(())
    } else {
        Err(failed(format!("{} sessions failed", report.failures.len())))
    }
}
