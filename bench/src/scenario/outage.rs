//! The webhook is down for a while: known tokens must go on working, new ones must be put off at once, and one trial
//! call must find out that it is back.

mod books;
mod load;
mod webhook;

use std::time::{Duration, Instant};

use self::books::{Books, Times};
use self::load::{Load, MAX_UNDER_WAY, Plan};
use self::webhook::{Mode, Webhook};
use super::Context;
use super::session::{Session, setup};
use crate::client::Token;
use crate::error::{BenchError, Result, failed};
use crate::target::{Auth, Need, SECRET, Server, Target, token_expiry};

/// How long all is well before and after.
const CALM: Duration = Duration::from_secs(2);

/// How long the breaker may take to close once the webhook is back.
const RECOVERY_LIMIT: Duration = Duration::from_mins(1);

const BREAKER: &str = "revenprox_circuit_breaker_state";
const FAILED_CALLS: &str = "revenprox_auth_webhook_duration_seconds_count{outcome=\"failed\"}";

/// What was seen from outside the load.
struct Seen {
    times: Times,
    /// Calls that failed while the webhook was down, connections refused among them.
    failed_calls: f64,
    /// Calls made before the first answer after it came back.
    trials: u64,
}

pub(super) fn run(context: &mut Context<'_>) {
    for (case, mode) in [("outage refused", Mode::Refusing), ("outage silent", Mode::Silent)] {
        let mut salt = 0;
        context.rounds(case, Need::Tokens, |context, target| {
            salt += 1;
            session(context, target, case, mode, salt)
        });
    }
}

fn session(context: &mut Context<'_>, target: &Target, case: &str, mode: Mode, salt: u64) -> Result<()> {
    let webhook = Webhook::start()?;
    let standing = context.subscribers(1000);
    let mut setup = setup(Need::Tokens, standing + MAX_UNDER_WAY, 1000);
    setup.auth = Auth::WebhookAt(webhook.address);
    let mut session = Session::start(target, &setup, &context.args.programs, context.workers)?;
    let token = Token { secret: SECRET.into(), salt, expires: token_expiry() };
    let mut plan = session.server.plan(standing);
    plan.token = Some(token.clone());
    // From here on the proxy knows the tokens of the streams that stand.
    session.connect(&plan)?;
    let load = Load::start(Plan {
        address: session.server.subscribe[0],
        path: session.server.path.replace("{topic}", "t0"),
        token,
        known: standing,
    })?;
    let seen = play(&session.server, &webhook, mode, context.time());
    let samples = load.finish()?;
    let seen = seen?;
    let books = Books::of(&samples, &seen.times);
    let ended = session.fleet.report()?.ended;
    add(context, target, case, &books, &seen, ended);
    let mut faults = books.faults();
    if ended > 0 {
        faults.push(format!("{ended} standing streams ended"));
    }
    if seen.trials != 1 {
        faults.push(format!("{} calls were made before the first was answered", seen.trials));
    }
    if faults.is_empty() { Ok(()) } else { Err(BenchError::Mismatch(faults.join("; "))) }
}

/// Takes the webhook down for `time` and brings it back.
fn play(server: &Server, webhook: &Webhook, mode: Mode, time: Duration) -> Result<Seen> {
    std::thread::sleep(CALM);
    let failed_before = metric(server, FAILED_CALLS)?;
    let down = Instant::now();
    webhook.set(mode);
    let open = wait_for_breaker(server, time, |state| state > 0.0)
        .map_err(|e| failed(format!("{e}; --seconds must give the breaker time to open")))?;
    std::thread::sleep((down + time).saturating_duration_since(Instant::now()));
    let failed_calls = metric(server, FAILED_CALLS)? - failed_before;
    let up = Instant::now();
    webhook.set(Mode::Up);
    let closed = wait_for_breaker(server, RECOVERY_LIMIT, |state| state == 0.0)?;
    std::thread::sleep(CALM);
    Ok(Seen { times: Times { down, open, up, closed }, failed_calls, trials: webhook.calls_before_answer()? })
}

/// Waits until the breaker's state is as wanted, and answers when that was seen.
fn wait_for_breaker(server: &Server, limit: Duration, wanted: impl Fn(f64) -> bool) -> Result<Instant> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if wanted(metric(server, BREAKER)?) {
            return Ok(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(failed(format!("the breaker's state did not change in {limit:?}")))
}

fn metric(server: &Server, name: &str) -> Result<f64> {
    let text = server.metrics_text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.ok_or_else(|| failed(format!("the proxy has no metric {name}")))
}

fn add(context: &mut Context<'_>, target: &Target, case: &str, books: &Books, seen: &Seen, ended: u64) {
    let Books { known_down: known, new_before_open: early, new_open: new, .. } = books;
    let Times { down, open, up, closed } = seen.times;
    for (metric, value) in [
        ("standing streams ended", ended as f64),
        ("known accepted", known.accepted as f64),
        ("known failed", (known.wrong + known.put_off) as f64),
        ("known p50 ms", known.times.percentile_ms(50.0)),
        ("known p99 ms", known.times.percentile_ms(99.0)),
        ("known max ms", known.times.max_ms()),
        ("breaker open after s", (open - down).as_secs_f64()),
        ("until open: new put off", early.put_off as f64),
        ("until open: accepted", early.accepted as f64),
        ("until open: p50 ms", early.times.percentile_ms(50.0)),
        ("until open: max ms", early.times.max_ms()),
        ("open: new put off", new.put_off as f64),
        ("open: anything else", (new.wrong + new.accepted) as f64),
        ("open: p50 ms", new.times.percentile_ms(50.0)),
        ("open: p99 ms", new.times.percentile_ms(99.0)),
        ("open: max ms", new.times.max_ms()),
        ("webhook calls failed", seen.failed_calls),
        ("trial calls on return", seen.trials as f64),
        ("recovery s", (closed - up).as_secs_f64()),
        ("up: new accepted", books.new_up.accepted as f64),
        ("up: new failed", (books.new_up.wrong + books.new_up.put_off) as f64),
    ] {
        context.add(case, metric, target, value);
    }
}
