//! What is measured. Every scenario runs in rounds, every round visits all targets one after the other, so that a
//! disturbance of the machine meets the floor as well as the server it is compared with.

mod connect;
mod fanout;
mod idle;
mod outage;
mod replay;
mod session;
mod slow;
mod unicast;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::error::Result;
use crate::progress;
use crate::report::{Baseline, Report};
use crate::target::{Need, Programs, Target};

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Memory per subscriber that receives nothing.
    IdleMemory,
    /// One topic, many subscribers.
    Fanout,
    /// Many topics with one subscriber each.
    Unicast,
    /// Connects per second and their cost.
    Connect,
    /// One subscriber in a hundred never reads.
    Slow,
    /// All subscribers resume at once.
    Replay,
    /// The webhook is down for a while.
    Outage,
    /// All of them.
    All,
}

/// What the command line says about a run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    pub(crate) scenarios: Vec<Scenario>,
    /// Servers to measure, beside the floors; may be given several times or with commas.
    #[arg(long = "target", value_delimiter = ',', value_parser = Target::parse)]
    pub(crate) targets: Vec<Target>,
    /// Writes all values of all rounds to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<std::path::PathBuf>,
    /// Subscribers; each scenario has its own default.
    #[arg(long)]
    pub(crate) subscribers: Option<usize>,
    /// Seconds each load lasts.
    #[arg(long, default_value_t = 8.0)]
    pub(crate) seconds: f64,
    /// Rounds; the table shows their medians.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Publisher connections of the fan-out's unpaced load.
    #[arg(long, default_value_t = 1)]
    pub(crate) publishers: usize,
    /// Events per batch request.
    #[arg(long, default_value_t = 32)]
    pub(crate) batch: usize,
    /// Events that may be accepted but not yet delivered, where publishing is not paced.
    #[arg(long, default_value_t = 128)]
    pub(crate) window: u64,
    /// Deliveries per second of the fan-out's paced load.
    #[arg(long, default_value_t = 22_000.0)]
    pub(crate) pace: f64,
    /// Where programs are.
    #[command(flatten)]
    pub(crate) programs: Programs,
}

/// A run under way.
pub(crate) struct Context<'a> {
    /// The command line.
    pub(crate) args: &'a RunArgs,
    /// What is measured, floors first.
    pub(crate) targets: Vec<Target>,
    /// Client processes, as many as cores.
    pub(crate) workers: usize,
    /// What was measured so far.
    pub(crate) report: Report,
}

/// Runs scenarios and returns what they measured.
pub(crate) fn run(args: &RunArgs) -> Report {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut context = Context {
        args,
        targets: with_floors(&args.targets, cores),
        workers: cores,
        report: Report::default(),
    };
    let (there, absent): (Vec<_>, Vec<_>) =
        context.targets.drain(..).partition(|t| t.missing(&args.programs).is_none());
    context.targets = there;
    for target in absent {
        let why = target.missing(&args.programs).unwrap_or_default();
        if target == Target::Proxy { context.report.failures.push(why) } else { context.report.note(why) }
    }
    let wanted = |s: Scenario| args.scenarios.contains(&s) || args.scenarios.contains(&Scenario::All);
    if wanted(Scenario::IdleMemory) {
        idle::run(&mut context);
    }
    if wanted(Scenario::Fanout) {
        fanout::run(&mut context);
    }
    if wanted(Scenario::Unicast) {
        unicast::run(&mut context);
    }
    if wanted(Scenario::Connect) {
        connect::run(&mut context);
    }
    if wanted(Scenario::Slow) {
        slow::run(&mut context);
    }
    if wanted(Scenario::Replay) {
        replay::run(&mut context);
    }
    if wanted(Scenario::Outage) {
        outage::run(&mut context);
    }
    context.report
}

/// The name of the floor that coalesces with as many threads as there are cores.
pub(crate) fn coalescing_floor(cores: usize) -> String {
    if cores == 1 { "floor-coalescing".into() } else { format!("floor-coalescing-{cores}") }
}

/// The targets asked for (the proxy where none is), after the floors they are compared with: with one thread, and with
/// as many as the proxy has.
fn with_floors(asked: &[Target], cores: usize) -> Vec<Target> {
    let floors = ["floor".to_owned(), format!("floor-{cores}"), coalescing_floor(cores)];
    let mut all: Vec<_> = Vec::new();
    for floor in floors.iter().filter_map(|f| Target::parse(f).ok()) {
        if !all.contains(&floor) {
            all.push(floor);
        }
    }
    let asked = if asked.is_empty() { &[Target::Proxy] } else { asked };
    for target in asked {
        if !all.contains(target) {
            all.push(target.clone());
        }
    }
    all
}

// === impl Context ===

impl Context<'_> {
    /// Calls `session` for every round and every target that meets `need`; a failed session is reported and the run
    /// goes on with the next.
    pub(crate) fn rounds(
        &mut self,
        what: &str,
        need: Need,
        mut session: impl FnMut(&mut Self, &Target) -> Result<()>,
    ) {
        for round in 1..=self.args.rounds.max(1) {
            for target in self.targets.clone() {
                let name = target.name();
                if let Some(why) = target.lacks(need) {
                    if !matches!(target, Target::Floor(_)) {
                        self.report.note(format!("{name} {why}"));
                    }
                    continue;
                }
                let started = Instant::now();
                progress::write(&format!("{what}, round {round}, {name} … "));
                let outcome = session(self, &target);
                let mut end = format!("{:.1} s\n", started.elapsed().as_secs_f64());
                if let Err(e) = outcome {
                    let _ = writeln!(end, "FAILED: {e}");
                    self.report.failures.push(format!("{what}, round {round}, {name}: {e}"));
                }
                progress::write(&end);
            }
        }
    }

    /// Adds a figure that is compared with the plain floor's in the same case.
    pub(crate) fn add(&mut self, case: &str, metric: &'static str, target: &Target, value: f64) {
        self.add_against(case, metric, target, value, &Baseline::new(case, "floor"));
    }

    /// Adds a figure that is compared with `baseline`.
    pub(crate) fn add_against(
        &mut self,
        case: &str,
        metric: &'static str,
        target: &Target,
        value: f64,
        baseline: &Baseline,
    ) {
        self.report.add(case, metric, &target.name(), value, baseline);
    }

    /// The number of subscribers asked for, or this scenario's own.
    pub(crate) fn subscribers(&self, default: usize) -> usize {
        self.args.subscribers.unwrap_or(default)
    }

    /// How long a load lasts.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.args.seconds)
    }
}
