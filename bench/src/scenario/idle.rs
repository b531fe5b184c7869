//! Memory per subscriber that receives nothing: the slope between a quarter and all of 16,000 subscribers.

use std::time::Duration;

use super::Context;
use super::session::{Session, setup};
use crate::client::{Token, Topics};
use crate::error::{Result, failed};
use crate::proc::slab_bytes;
use crate::report::Baseline;
use crate::stats::slope;
use crate::target::{Auth, Need, SECRET, Target, token_expiry};

const STEPS: usize = 4;
/// Memory has settled when it has shrunk by less than this in a pause.
const SETTLE_BYTES: u64 = 32 * 1024;
const SETTLE_PAUSE: Duration = Duration::from_millis(1500);
const SETTLE_LOOKS_MAX: usize = 10;

struct Variant {
    case: &'static str,
    base: &'static str,
    own_topics: bool,
    auth: Auth,
}

const VARIANTS: [Variant; 4] = [
    Variant { case: "idle one topic", base: "idle one topic", own_topics: false, auth: Auth::Anonymous },
    Variant { case: "idle own topics", base: "idle own topics", own_topics: true, auth: Auth::Anonymous },
    Variant { case: "idle one topic, JWT", base: "idle one topic", own_topics: false, auth: Auth::LocalKey },
    Variant { case: "idle own topics, JWT", base: "idle own topics", own_topics: true, auth: Auth::LocalKey },
];

pub(super) fn run(context: &mut Context<'_>) {
    for variant in &VARIANTS {
        let need = match (variant.auth, variant.own_topics) {
            (Auth::Anonymous, false) => Need::Idle,
            (Auth::Anonymous, true) => Need::IdleOwnTopics,
            _ => Need::Tokens,
        };
        context.rounds(variant.case, need, |context, target| session(context, target, variant));
    }
}

/// The memory once it no longer shrinks: what the connecting itself used goes back to the system with a delay.
fn settled(session: &Session) -> f64 {
    let mut least = u64::MAX;
    for _ in 0..SETTLE_LOOKS_MAX {
        std::thread::sleep(SETTLE_PAUSE);
        let now = session.server.process.memory().pss;
        if now + SETTLE_BYTES > least {
            return now.min(least) as f64;
        }
        least = now;
    }
    least as f64
}

fn session(context: &mut Context<'_>, target: &Target, variant: &Variant) -> Result<()> {
    let subscribers = context.subscribers(16_000);
    let mut setup = setup(Need::Idle, subscribers, 1000);
    setup.auth = variant.auth;
    let mut session = Session::start(target, &setup, &context.args.programs, context.workers)?;
    let mut plan = session.server.plan(subscribers / STEPS);
    plan.topics = if variant.own_topics { Topics::Own } else { Topics::One };
    if variant.auth != Auth::Anonymous {
        plan.token = Some(Token { secret: SECRET.into(), salt: 0, expires: token_expiry() });
    }
    let (mut user, mut kernel) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        plan.first = step * plan.count;
        session.connect(&plan)?;
        let pss = settled(&session);
        let open = ((step + 1) * plan.count) as f64;
        user.push((open, pss));
        kernel.push((open, slab_bytes() as f64));
    }
    let ended = session.fleet.report()?.ended;
    if ended > 0 {
        return Err(failed(format!("{ended} streams ended while idle")));
    }
    let base = Baseline::new(variant.base, "floor");
    let add = |context: &mut Context<'_>, metric, points: &[(f64, f64)]| {
        if let Some(value) = slope(points) {
            context.add_against(variant.case, metric, target, value, &base);
        }
    };
    add(context, "user B/subscriber", &user);
    add(context, "kernel B/connection", &kernel);
    let total = user.last().map_or(0.0, |p| p.1) / 1024.0 / 1024.0;
    context.add_against(variant.case, "PSS MiB, all", target, total, &base);
    Ok(())
}
