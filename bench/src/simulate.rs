//! Clusters of many instances, simulated: real nodes on a network of 1 Gbit/s interfaces in one thread.

mod cluster;
mod population;

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use revenprox_mesh::interest::Sizing;
use revenprox_mesh::node::Node;
use revenprox_mesh::sim::Random;

use self::cluster::{Cluster, Forwards, Joined, RATE};
use self::population::Population;
use crate::error::{Doing, Result, failed};
use crate::progress;
use crate::table;

/// The false-positive rate of the filters, as it is by default.
const FPR: f64 = 0.01;

#[derive(clap::Args)]
pub(crate) struct SimulateArgs {
    /// Sizes of the clusters.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000])]
    instances: Vec<usize>,
    /// Subscribers of a cluster, spread over instances and topics at random.
    #[arg(long, default_value_t = 10_000_000)]
    subscribers: usize,
    /// Topics of a cluster.
    #[arg(long, default_value_t = 1_000_000)]
    topics: u32,
    /// Share of the subscriptions that end within a minute, and are followed by others.
    #[arg(long, default_value_t = 0.01)]
    churn: f64,
    /// Simulated time over which traffic is measured.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Events that are published, after that.
    #[arg(long, default_value_t = 2_000)]
    events: usize,
    /// Decides everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Memory for the copies of filters at all instances. With more, a cluster is simulated with fewer subscribers.
    #[arg(long, default_value_t = 4)]
    memory_gib: usize,
}

/// What a row of the table shows of an outcome.
type Cell<'a> = Box<dyn Fn(&Outcome) -> String + 'a>;

struct Outcome {
    instances: usize,
    /// The cluster had only one subscriber of so many.
    divided_by: usize,
    topics: usize,
    filter: usize,
    copies: usize,
    sent: (f64, f64),
    started: Duration,
    joined: Joined,
    sampled: f64,
    forwards: Forwards,
}

pub(crate) fn run(args: &SimulateArgs) -> Result<()> {
    if args.instances.iter().any(|instances| *instances < 3) || args.topics == 0 {
        return Err(failed("a cluster needs three instances and a topic"));
    }
    let mut outcomes = Vec::new();
    for instances in &args.instances {
        outcomes.push(simulate(args, *instances, args.memory_gib << 30)?);
    }
    let text = render(args, &outcomes);
    std::io::stdout().write_all(text.as_bytes()).doing(|| "printing the table".into())?;
    let wrong: usize = outcomes.iter().map(|outcome| outcome.forwards.wrong).sum();
    if wrong == 0 { Ok(()) } else { Err(failed(format!("{wrong} deliveries are missing or repeated"))) }
}

fn simulate(args: &SimulateArgs, instances: usize, memory: usize) -> Result<Outcome> {
    let mut random = Random::new(args.seed);
    let full = Population::new(&mut random, instances, args.topics, args.subscribers);
    let (topics, filter) = (full.mean_topics(), filter_bytes(full.mean_topics()));
    let divided_by = divisor(instances * (instances - 1) * filter, memory);
    let changes = full.len() as f64 * args.churn / 60.0;
    let (full, population) = if divided_by == 1 {
        (None, full)
    } else {
        let fewer = args.subscribers / divided_by;
        (Some(full), Population::new(&mut random, instances, args.topics, fewer))
    };
    let mut cluster = Cluster::new(args.seed, instances, population, changes);
    let began = Instant::now();
    let say = |what: &str| {
        let seconds = began.elapsed().as_secs();
        progress::step(&format!("{instances} instances, after {seconds} s: {what}"));
    };
    say("they start");
    let started = cluster.start()?;
    say("subscriptions change");
    let sent = cluster.change(Duration::from_secs(args.seconds));
    say("one more joins");
    let joined = cluster.join()?;
    say("events are published");
    let forwards = cluster.publish(args.events);
    say("all but the filters of full size is measured");
    let copies = cluster.copies();
    let (joined, copies, sampled) = match full {
        None => (joined, copies, sample(&cluster, args.topics, &mut random)),
        Some(full) => {
            drop(cluster);
            let (joined, star) = cluster::join_star(args.seed, full)?;
            let copies = star.world.node(instances - 1).map_or(0, Node::copies_bytes);
            (joined, copies, sample(&star, args.topics, &mut random))
        }
    };
    let outcome =
        Outcome { instances, divided_by, topics, filter, copies, sent, started, joined, sampled, forwards };
    Ok(outcome)
}

/// How often a topic without subscribers at an instance is in its filter all the same.
fn sample(cluster: &Cluster, topics: u32, random: &mut Random) -> f64 {
    let (mut tried, mut wrong) = (0_u64, 0_u64);
    // More would only look at the same topics again.
    let picks = (20_000_000 / cluster.world.len()).min(10 * topics as usize);
    for _ in 0..picks {
        let (topic, has) = cluster.population.pick(random);
        for (index, _) in has.iter().enumerate().filter(|(_, has)| !**has) {
            let Some(node) = cluster.world.node(index) else { continue };
            tried += 1;
            wrong += u64::from(node.interest().filter().may_contain(topic));
        }
    }
    wrong as f64 / tried.max(1) as f64
}

fn filter_bytes(topics: usize) -> usize {
    64 << Sizing::new(FPR).class_for(topics)
}

/// By how much the subscribers have to be fewer, so that all copies of all filters fit.
fn divisor(copies: usize, memory: usize) -> usize {
    copies.div_ceil(memory.max(1)).next_power_of_two()
}

fn render(args: &SimulateArgs, outcomes: &[Outcome]) -> String {
    let share = |part: f64, whole: f64| 100.0 * part / whole.max(1.0);
    let ms = |time: Duration| format!("{}", time.as_millis());
    let rate = RATE as f64;
    let rows: Vec<(&str, &str, Cell<'_>)> = vec![
        ("instances", "", Box::new(|o| o.instances.to_string())),
        ("topics with subscribers at one", "", Box::new(|o| o.topics.to_string())),
        ("its filter", "KiB", Box::new(|o| (o.filter / 1024).to_string())),
        (
            "filters of others at one",
            "MiB",
            Box::new(|o| format!("{:.1}", o.copies as f64 / f64::from(1 << 20))),
        ),
        ("state sent by one, mean", "kB/s", Box::new(|o| format!("{:.1}", o.sent.0 / 1e3))),
        ("state sent by one, most", "kB/s", Box::new(|o| format!("{:.1}", o.sent.1 / 1e3))),
        ("of 1 Gbit/s, most", "%", Box::new(|o| format!("{:.3}", share(o.sent.1, rate)))),
        ("start of all until all know all", "ms", Box::new(|o| ms(o.started))),
        ("new one: a peer of all", "ms", Box::new(|o| ms(o.joined.peer))),
        ("new one: knows all", "ms", Box::new(|o| ms(o.joined.knows))),
        ("sampled: filters that wrongly match", "%", Box::new(|o| format!("{:.3}", 100.0 * o.sampled))),
        ("published events", "", Box::new(|o| o.forwards.published.to_string())),
        (
            "of instances without a subscriber reached",
            "%",
            Box::new(move |o| format!("{:.3}", share(o.forwards.wasted as f64, o.forwards.without as f64))),
        ),
        ("missing or repeated", "", Box::new(|o| o.forwards.wrong.to_string())),
    ];
    let line = |(what, unit, cell): &(&str, &str, Cell<'_>)| {
        let cells = outcomes.iter().map(cell);
        [(*what).to_owned(), (*unit).to_owned()].into_iter().chain(cells).collect::<Vec<_>>()
    };
    let mut text = table::align(&rows.iter().map(line).collect::<Vec<_>>());
    let _ = writeln!(
        text,
        "\n{} subscribers, {} topics, {} % of the subscriptions changing per minute, seed {}.",
        args.subscribers,
        args.topics,
        100.0 * args.churn,
        args.seed
    );
    for outcome in outcomes.iter().filter(|outcome| outcome.divided_by > 1) {
        let (instances, by) = (outcome.instances, outcome.divided_by);
        let _ = writeln!(
            text,
            "Note: of {instances} instances, traffic, start and events were simulated with 1/{by} of the subscribers, and as \
             many changes; filters and the new one with all, among others that have no links to each other."
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: SimulateArgs,
    }

    #[test]
    fn a_small_cluster_is_within_its_budget() {
        let line = "simulate --instances 5 --subscribers 2000 --topics 500 --seconds 5 --events 200";
        let args = Cli::parse_from(line.split(' ')).args;
        let full = simulate(&args, 5, 1 << 30).unwrap();
        assert_eq!((full.divided_by, full.forwards.wrong), (1, 0));
        assert!(full.sampled < 0.015 && full.sent.1 < 0.01 * RATE as f64);
        assert!(full.joined.peer < Duration::from_secs(1));

        let divided = simulate(&args, 5, 5 * 4 * full.filter / 2).unwrap();
        assert_eq!((divided.divided_by, divided.forwards.wrong), (2, 0));
        assert!(divided.copies >= full.filter * 4, "the filters are those of all subscribers");
    }
}
