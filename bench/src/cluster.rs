//! Many subscribers over many instances of one mesh, reconciled one by one; and what a rolling restart costs them.

mod instances;
mod resume;
mod rolling;
mod spread;
mod standstill;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use crate::error::{Doing, Result};
use crate::proc;

/// What is measured and how long.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct ClusterArgs {
    /// Restarts each instance once while events are published, and counts what that costs; this does not fail.
    #[arg(long)]
    rolling: bool,
    /// What is done to each instance in turn, after which it is started again; `pause` stops it for longer than its peers
    /// wait, and lets it go on.
    #[arg(long, value_delimiter = ',', default_value = "drain", requires = "rolling")]
    faults: Vec<Fault>,
    /// Does one of the faults to each instance, in turn, and not each of them to all.
    #[arg(long, requires = "rolling")]
    one_each: bool,
    /// Publishers wait until another instance keeps the event, and a run that loses one fails.
    #[arg(long, requires = "rolling")]
    replicated: bool,
    /// Stops one of three instances for a time while another publishes, and looks at what that does to the others.
    #[arg(long, conflicts_with_all = ["rolling", "instances", "subscribers", "topics"])]
    standstill: bool,
    /// Measures how long a resume takes at another instance, and what `ack=replicated` costs a publisher.
    #[arg(long, conflicts_with_all = ["rolling", "standstill", "subscribers", "topics", "rate", "seconds"])]
    resume: bool,
    /// Instances; 8, or 3 that are restarted.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    instances: Option<u8>,
    /// Subscribers, spread over instances evenly and over topics at random; 150,000, or 3,000.
    #[arg(long)]
    subscribers: Option<usize>,
    /// Topics; 20,000, or 300.
    #[arg(long)]
    topics: Option<usize>,
    /// Events a second, each to a random topic; 500, or 150; with one that stands still 1,000, all to one topic.
    #[arg(long)]
    rate: Option<f64>,
    /// Bytes of each event.
    #[arg(long, default_value_t = 100)]
    payload: usize,
    /// How long events are published; 30, or before, between and after restarts 5, or in each of three phases 15.
    #[arg(long)]
    seconds: Option<f64>,
    /// The proxy's binary.
    #[arg(long = "proxy-bin", value_name = "FILE", default_value = "target/release/sse-proxy")]
    proxy: PathBuf,
}

/// What can be done to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Fault {
    /// It ends in its own good time.
    Drain,
    /// It ends at once.
    Kill,
    /// It stands still for a while.
    Pause,
}

/// Runs it and prints the table.
pub(crate) fn run(args: &ClusterArgs) -> Result<()> {
    let machine = proc::MachineMark::now();
    let outcome = match args {
        _ if args.rolling => rolling::run(args)?,
        _ if args.standstill => standstill::run(args)?,
        _ if args.resume => resume::run(args)?,
        _ => spread::run(args)?,
    };
    let mut text = outcome.text;
    // All children have ended by now, so what they used is this program's own.
    let _ = writeln!(text, "Other programs used {:.2} cores meanwhile.", machine.others_until_now());
    std::io::stdout().write_all(text.as_bytes()).doing(|| "printing the table".into())?;
    outcome.verdict
}

// === impl ClusterArgs ===

impl ClusterArgs {
    /// What is done to which instance, in this order.
    fn faults(&self) -> Vec<(Fault, usize)> {
        let all = 0..self.instances();
        if self.one_each {
            return self.faults.iter().copied().cycle().zip(all).collect();
        }
        self.faults.iter().flat_map(|fault| all.clone().map(|index| (*fault, index))).collect()
    }

    fn instances(&self) -> usize {
        self.instances.unwrap_or(if self.rolling { 3 } else { 8 }).into()
    }

    fn subscribers(&self) -> usize {
        self.subscribers.unwrap_or(if self.rolling { 3_000 } else { 150_000 }).max(1)
    }

    fn topics(&self) -> usize {
        self.topics.unwrap_or(if self.rolling { 300 } else { 20_000 }).max(1)
    }

    fn rate(&self) -> f64 {
        let usual = match self {
            _ if self.rolling => 150.0,
            _ if self.standstill => 1_000.0,
            _ => 500.0,
        };
        self.rate.unwrap_or(usual).max(1.0)
    }

    fn seconds(&self) -> f64 {
        let usual = match self {
            _ if self.rolling => 5.0,
            _ if self.standstill => 15.0,
            _ => 30.0,
        };
        self.seconds.unwrap_or(usual)
    }
}

/// A table, and whether the run it describes was as it should be.
struct Outcome {
    text: String,
    verdict: Result<()>,
}
