//! Connects per second and CPU per connect: anonymous, with a fresh token judged by a local key, and with a token whose
//! verdict the webhook has given before.

use std::time::{Duration, Instant};

use super::Context;
use super::session::{Session, setup};
use crate::client::Token;
use crate::error::Result;
use crate::report::Baseline;
use crate::target::{Auth, Need, SECRET, Target, token_expiry};

const ANONYMOUS: &str = "connect anonymous";

pub(super) fn run(context: &mut Context<'_>) {
    for (case, auth) in [
        (ANONYMOUS, Auth::Anonymous),
        ("connect local JWT", Auth::LocalKey),
        ("connect cached JWT", Auth::Webhook),
    ] {
        let need = if auth == Auth::Anonymous { Need::Connect } else { Need::Tokens };
        let mut salt = 0;
        context.rounds(case, need, |context, target| {
            salt += 1;
            session(context, target, case, auth, salt)
        });
    }
}

fn session(context: &mut Context<'_>, target: &Target, case: &str, auth: Auth, salt: u64) -> Result<()> {
    let subscribers = context.subscribers(10_000);
    let mut setup = setup(Need::Idle, subscribers, 1000);
    setup.auth = auth;
    let mut session = Session::start(target, &setup, &context.args.programs, context.workers)?;
    let mut plan = session.server.plan(subscribers);
    if auth != Auth::Anonymous {
        plan.token = Some(Token { secret: SECRET.into(), salt, expires: token_expiry() });
    }
    if auth == Auth::Webhook {
        session.connect(&plan)?;
        session.fleet.disconnect()?;
        wait_until_empty(&session);
    }
    let asked = session.server.helpers.first().map_or(0, crate::httpd::Httpd::requests);
    let cpu = session.server.process.cpu();
    let took = session.fleet.connect(&plan)?;
    let cpu = cpu.seconds_until(&session.server.process.cpu());
    let again = session.server.helpers.first().map_or(0, crate::httpd::Httpd::requests) - asked;
    if auth == Auth::Webhook && again > 0 {
        context.report.note(format!(
            "{case}: {}'s webhook was asked {again} times although all verdicts were known",
            target.name()
        ));
    }
    let base = Baseline::new(ANONYMOUS, "floor");
    let each = subscribers as f64;
    context.add_against(case, "connects/s", target, each / took.as_secs_f64(), &base);
    context.add_against(case, "CPU µs/connect", target, cpu * 1e6 / each, &base);
    Ok(())
}

/// Waits until the server knows that its subscribers are gone, or five seconds. The question itself may be one of the
/// connections.
fn wait_until_empty(session: &Session) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while session.server.connections().is_none_or(|n| n > 1) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
}
