//! What the times tell at which events, keepalives and ends of connections came.

use std::time::Duration;

use super::{Finding, Level};
use crate::cli::doctor::{
    observation::{Resumed, Silence, Timed, Untimed},
    product::{Product, Trouble},
};

/// What comes within this time is one burst. Events are sent at several times this distance.
const TOGETHER: Duration = Duration::from_millis(40);

/// A burst that is less late than this is seen by people as a jerk, not as a delay.
const JERK: Duration = Duration::from_millis(500);

/// By how much longer than a publish an event may be on its way: both go to the proxy and back.
const LATER: Duration = Duration::from_millis(60);

/// The clocks of two machines that set theirs differ by less, and a header has whole seconds only.
const CLOCK_FINE_MS: u64 = 3_000;

/// Tokens are judged with this leeway unless configured otherwise (`auth.leeway_sec`).
const CLOCK_LEEWAY_MS: u64 = 30_000;

/// Whether events come when they are sent.
pub(super) fn buffering(
    timed: &Result<Timed, Untimed>,
    silence: Option<&Silence>,
    known: &[Product],
) -> Finding {
    match timed {
        Ok(timed) => events(timed, known),
        Err(untimed) => keepalives(untimed, silence),
    }
}

fn events(timed: &Timed, known: &[Product]) -> Finding {
    let finding = |level, found: String| Finding::new("buffering", level, found);
    let (sent, came) = (timed.sent.len(), timed.count());
    let over = timed.sent.last().map_or(Duration::ZERO, |(sent, _)| *sent);
    if came == 0 {
        let then = timed.came_after_bytes.map_or_else(
            || "nor after much more was published".to_owned(),
            |bytes| format!("only after {} more had been published", size(bytes)),
        );
        return finding(
            Level::Problem,
            format!("none of {sent} events sent over {} came in time, {then}", secs(over)),
        )
        .advise("Something on the way collects the stream before it passes it on.")
        .cure(Trouble::Buffering, known);
    }
    let mut delays = timed.delays();
    delays.sort_unstable();
    let (median, slowest) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    let bursts = timed.bursts(TOGETHER);
    let collects = "Something on the way collects events before it passes them on.";
    if sent > 2 && bursts <= sent.div_ceil(2) {
        let plural = if bursts == 1 { "burst" } else { "bursts" };
        let found = format!(
            "{came} of {sent} events sent over {} came in {bursts} {plural}, up to {} late",
            secs(over),
            secs(slowest)
        );
        let level = if slowest < JERK { Level::Warning } else { Level::Problem };
        return finding(level, found).advise(collects).cure(Trouble::Buffering, known);
    }
    let found = format!(
        "{came} of {sent} events came, {} after they were sent; the slowest {}",
        secs(median),
        secs(slowest)
    );
    if came < sent {
        return finding(Level::Problem, found)
            .advise("Publishes may reach other instances than the stream: connect these by a mesh ([nng]).");
    }
    let publish = timed.publish_time();
    if median.saturating_sub(publish) > LATER {
        let found = format!("{found}, and a publish takes {}", secs(publish));
        return finding(Level::Warning, found).advise(collects).cure(Trouble::Buffering, known);
    }
    finding(Level::Ok, found)
}

/// Without the right to publish, keepalives are the only small pieces that are known to have been sent.
fn keepalives(untimed: &Untimed, silence: Option<&Silence>) -> Finding {
    let why = match untimed {
        Untimed::NotWanted => "nothing was published".to_owned(),
        Untimed::Refused(why) => format!("nothing could be published ({why})"),
    };
    let came = silence.and_then(|silence| silence.heard.first());
    let finding = |found| Finding::new("buffering", Level::Note, found);
    match came {
        Some(at) => finding(format!("{why}; a keepalive came through after {}, so little is held back", secs(*at))),
        None => finding(format!("{why}, and no keepalive came, so it is not known whether events are held back"))
            .advise("Give a token that may publish (--publish-token), the proxy's own URL (--publish-url), or a longer --idle."),
    }
}

/// Whether a silent stream stays, and keepalives come.
pub(super) fn silence(silence: &Silence, held_back: bool, known: &[Product]) -> Finding {
    let finding = |level, found: String| Finding::new("silence", level, found);
    if let Some(event) = &silence.farewell {
        return finding(Level::Note, format!("the proxy ended the stream with {event}"))
            .advise("It drains, or the token has expired or was revoked: try again.");
    }
    if let (Some((at, why)), Some(quiet)) = (&silence.ended, silence.quiet_before_end()) {
        return cut(silence, *at, quiet, why, known);
    }
    let watched = secs(silence.watched);
    match silence.heard.first() {
        Some(first) => finding(Level::Ok, format!("still connected after {watched}; the first keepalive came after {}", secs(*first))),
        None if held_back => finding(Level::Note, format!("still connected after {watched}; keepalives are held back like events")),
        None => finding(Level::Warning, format!("still connected after {watched}, but no keepalive came"))
            .advise("If http.keepalive_interval_sec is longer, say a longer --idle; otherwise something holds them back."),
    }
}

fn cut(silence: &Silence, at: Duration, quiet: Duration, why: &str, known: &[Product]) -> Finding {
    let finding = |found: String| Finding::new("silence", Level::Problem, found);
    let pauses = silence
        .heard
        .iter()
        .scan(Duration::ZERO, |last, at| Some(at.saturating_sub(std::mem::replace(last, *at))));
    // A connection that outlived longer silences was not cut for this one.
    if pauses.max().is_some_and(|longest| longest >= quiet) {
        let found = format!("cut after {}, although keepalives came: {why}", secs(at));
        return finding(found)
            .advise("Something on the way limits how long an answer may take, whatever is sent.")
            .cure(Trouble::TotalTimeout, known);
    }
    finding(format!("cut after {} of silence, before a keepalive came: {why}", secs(quiet)))
        .advise(format!(
            "A time limit on the way is shorter than the keepalive: raise it, or set http.keepalive_interval_sec below {}.",
            quiet.as_secs().max(1)
        ))
        .cure(Trouble::IdleTimeout, known)
}

/// Whether `Last-Event-ID` does what it should.
pub(super) fn resume(resumed: &Resumed, held_back: bool) -> Finding {
    let finding = |level, found: &str| Finding::new("resume", level, found);
    match resumed {
        Resumed::AsExpected => finding(Level::Ok, "Last-Event-ID reaches the proxy, which goes on after it"),
        _ if held_back => finding(Level::Note, "not known: the stream is held back"),
        Resumed::Gap(reason) => Finding::new("resume", Level::Warning, format!("the proxy says that events are missing: {reason}"))
            .advise("History is off ([history]), or the second connection met another instance that is not connected by a mesh ([nng])."),
        Resumed::Ignored => finding(Level::Problem, "Last-Event-ID does not reach the proxy, so a reconnect loses events")
            .advise("Let the header through; clients that cannot send it may use ?lastEventId= instead."),
        Resumed::Failed(why) => Finding::new("resume", Level::Problem, format!("the second connection failed: {why}")),
    }
}

/// Whether the clocks agree well enough for the times in tokens.
pub(super) fn clock(ahead_ms: i64) -> Finding {
    let off = ahead_ms.unsigned_abs();
    let side = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let found = format!("the proxy's clock is {} {side} the one here", secs(Duration::from_millis(off)));
    let finding = |level, found| Finding::new("clock", level, found);
    if off <= CLOCK_FINE_MS {
        return finding(Level::Ok, found);
    }
    if off <= CLOCK_LEEWAY_MS {
        let advice = "Set both by NTP: tokens expire early or late by as much.";
        return finding(Level::Warning, found).advise(advice);
    }
    let advice = "Set both by NTP: new tokens may be refused as not valid yet (auth.leeway_sec), or old ones be taken.";
    finding(Level::Problem, found).advise(advice)
}

/// A duration as people read it.
fn secs(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return format!("{} ms", time.as_millis());
    }
    format!("{:.1} s", time.as_secs_f64())
}

fn size(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}
