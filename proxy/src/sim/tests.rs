use std::{
    env,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    oracle::Counts,
    world::{Faults, Plan, simulate},
};

/// How long each cluster of a short run lives.
const SHORT: Duration = Duration::from_mins(2);

/// How long each cluster of a long run lives: ten thousand are a thousand hours.
const LONG: Duration = Duration::from_mins(6);

/// Names the seeds of a long run, as in `0..10000`.
const SEEDS: &str = "REVENPROX_SIM_SEEDS";

#[test]
fn a_calm_cluster_misses_repeats_and_doubts_nothing() {
    for seed in 0..5 {
        let outcome = simulate(Plan { seed, time: SHORT, faults: Faults::None });
        let counts = outcome.counts;
        assert_eq!(
            (outcome.broken.as_str(), counts.gaps, counts.again),
            ("", 0, 0),
            "seed {seed}: {counts:?}"
        );
        assert!(counts.delivered > 100 && counts.visits > 20, "{counts:?}");
    }
}

#[test]
fn a_seed_does_the_same_again() {
    let plan = Plan { seed: 7, time: SHORT, faults: Faults::All };
    assert_eq!(simulate(plan), simulate(plan));
}

#[test]
fn whatever_instances_end_what_was_promised_is_kept() {
    torture(0..12, SHORT, Faults::Ends);
}

/// The same for as many clusters as one likes.
#[test]
#[ignore = "it takes as long as one likes"]
fn ends() {
    long(Faults::Ends);
}

/// The same, where instances do not hear each other for a while as well.
#[test]
#[ignore = "it takes as long as one likes"]
fn all() {
    long(Faults::All);
}

fn long(faults: Faults) {
    let seeds = env::var(SEEDS).unwrap_or_else(|_| "0..1000".to_owned());
    let (from, to) = seeds.split_once("..").expect("seeds are FROM..TO");
    torture(from.parse().expect("FROM is a number")..to.parse().expect("TO is a number"), LONG, faults);
}

/// Simulates one cluster for each seed, on all cores, and tells what happened in all of them.
fn torture(seeds: Range<u64>, time: Duration, faults: Faults) {
    let began = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new((Counts::default(), Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = simulate(Plan { seed, time, faults });
            let mut total = total.lock();
            total.0 = total.0 + outcome.counts;
            if !outcome.broken.is_empty() {
                println!("seed {seed}: {:?}\n{}", outcome.counts, outcome.broken);
                total.1.push(seed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (counts, broken) = total.into_inner();
    let hours = time.as_secs_f64() * (seeds.end - seeds.start) as f64 / 3600.0;
    println!("{hours:.1} hours of clusters in {:.0} s: {counts:#?}", began.elapsed().as_secs_f64());
    let again = broken.first().map(|seed| format!("{SEEDS}={seed}..{} shows the first again", seed + 1));
    assert!(
        broken.is_empty(),
        "{} of the clusters broke a promise: {broken:?}; {}",
        broken.len(),
        again.unwrap_or_default()
    );
}
