//! 10,000 topics with one subscriber each, events to random topics: by single requests and by batches.

use super::Context;
use super::session::{Session, setup};
use crate::client::Topics;
use crate::error::Result;
use crate::publish::{Load, Publisher};
use crate::target::{Need, Target};

const PAYLOAD: usize = 100;

/// Publisher connections for single requests, each with one request under way.
const CONNECTIONS: usize = 32;

/// Publisher connections for batches.
const BATCH_CONNECTIONS: usize = 4;

pub(super) fn run(context: &mut Context<'_>) {
    context.rounds("unicast", Need::OwnTopics, session);
}

fn session(context: &mut Context<'_>, target: &Target) -> Result<()> {
    let args = context.args;
    let subscribers = context.subscribers(10_000);
    for (case, connections, batch) in
        [("unicast single", CONNECTIONS, 1), ("unicast batches", BATCH_CONNECTIONS, args.batch)]
    {
        if batch > 1 && !target.batches() {
            continue;
        }
        // A server for each, since the sequence numbers of a topic belong to one publisher.
        let setup = setup(Need::OwnTopics, subscribers, 10_000);
        let mut session = Session::start(target, &setup, &args.programs, context.workers)?;
        let mut plan = session.server.plan(subscribers);
        plan.topics = Topics::Own;
        session.connect(&plan)?;
        let mut publisher = Publisher::open(&session.server.publish, connections, Some(subscribers))?;
        let load = Load { rate: None, time: context.time(), limit: u64::MAX, batch, payload: PAYLOAD };
        let measured = session.measure(&mut publisher, &load, 1, args.window * 16)?;
        context.add(case, "publishes/s", target, measured.rate());
        context.add(case, "CPU µs/publish", target, measured.cpu_per_delivery());
        context.add(case, "p99 ms", target, measured.totals.latency.percentile_ms(99.0));
        context.add(case, "answer p99 ms", target, measured.sent.answers.percentile_ms(99.0));
    }
    Ok(())
}
