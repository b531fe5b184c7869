//! One topic, 10,000 subscribers: paced as much as one `send` per delivery can bear, and as fast as is accepted.

use super::session::{Measured, Session, setup};
use super::{Context, coalescing_floor};
use crate::error::Result;
use crate::publish::{Load, Publisher};
use crate::report::Baseline;
use crate::target::{Need, Target};

const PAYLOADS: [(usize, &str); 2] = [(100, "100 B"), (1024, "1 KiB")];

/// Far more than the window lets wait.
const QUEUE: usize = 100_000;

pub(super) fn run(context: &mut Context<'_>) {
    context.rounds("fanout", Need::Fanout, session);
}

fn session(context: &mut Context<'_>, target: &Target) -> Result<()> {
    let args = context.args;
    let subscribers = context.subscribers(10_000);
    let setup = setup(Need::Fanout, subscribers, QUEUE);
    let mut session = Session::start(target, &setup, &args.programs, context.workers)?;
    let publishers = args.publishers.clamp(1, 256);
    let mut plan = session.server.plan(subscribers);
    plan.publishers = publishers;
    session.connect(&plan)?;
    let readers = session.fleet.readers();
    let mut publisher = Publisher::open(&session.server.publish, publishers, None)?;
    let warm_up = Load { rate: Some(20.0), time: context.time(), limit: 5, batch: 1, payload: 100 };
    session.measure(&mut publisher, &warm_up, readers, args.window)?;
    for (payload, label) in PAYLOADS {
        let mut load = Load { rate: None, time: context.time(), limit: u64::MAX, batch: args.batch, payload };
        if !target.coalesces() {
            load.rate = Some(args.pace / readers as f64);
            load.batch = 1;
            let paced = session.measure(&mut publisher, &load, readers, args.window)?;
            add_paced(context, &format!("fanout {label} paced"), target, &paced);
        }
        let window = target.window(args.window);
        (load.rate, load.batch) = (None, args.batch.min(usize::try_from(window).unwrap_or(usize::MAX)));
        let unpaced = session.measure(&mut publisher, &load, readers, window)?;
        add_unpaced(context, &format!("fanout {label} unpaced"), target, &unpaced);
    }
    Ok(())
}

fn add_paced(context: &mut Context<'_>, case: &str, target: &Target, measured: &Measured) {
    context.add(case, "CPU µs/delivery", target, measured.cpu_per_delivery());
    context.add(case, "p50 ms", target, measured.totals.latency.percentile_ms(50.0));
    context.add(case, "p99 ms", target, measured.totals.latency.percentile_ms(99.0));
    context.add(case, "max ms", target, measured.totals.latency.max_ms());
}

fn add_unpaced(context: &mut Context<'_>, case: &str, target: &Target, measured: &Measured) {
    let base = Baseline::new(case, &coalescing_floor(context.workers));
    context.add_against(case, "deliveries/s", target, measured.rate(), &base);
    context.add_against(case, "CPU µs/delivery", target, measured.cpu_per_delivery(), &base);
    context.add_against(case, "p99 ms", target, measured.totals.latency.percentile_ms(99.0), &base);
}
