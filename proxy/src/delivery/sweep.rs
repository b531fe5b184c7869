//! What is due by the clock: keepalives, expiring tokens, draining.
//!
//! Once a second the shard passes over all its connections, an eighth at each tick. So there is no timer for
//! each connection, and what is due for many at once is spread by itself.

use std::time::Duration;

use foldhash::fast::FixedState;
use serde_json::json;

use super::{
    conn::{Form, Identity, NONE},
    inbox::{Cut, SubscriberInfo},
    shard::Shard,
    stats::CutReason,
};
use crate::{event::frame::own_event, hub::now_ms, log::record::LAST_CHUNK};

/// The unit of a shard's time.
pub(super) const TICK: Duration = Duration::from_millis(125);

/// A pass over all connections takes this many ticks.
const TICKS_PER_PASS: u32 = 8;

/// How many slow or failing subscribers are named in the log in each second.
const LOGGED_PER_PASS: u32 = 10;

/// One newline: a blank line after a comment makes some client libraries emit an empty event.
const KEEPALIVE: &[u8] = b": keepalive\n";

/// Where the pass is.
#[derive(Default)]
pub(super) struct Sweep {
    last_tick: u32,
    next: usize,
    drain: Option<Drain>,
}

#[derive(Clone, Copy)]
struct Drain {
    started: u32,
    window: u32,
}

/// What is to be done with one connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Keepalive,
    Warn,
    Expire,
    Drain,
    GiveUp,
}

// === impl Shard ===

impl Shard {
    pub(super) fn sweep_if_due(&mut self) {
        let now = self.now();
        let ticks = now.saturating_sub(self.sweep.last_tick).min(TICKS_PER_PASS);
        if ticks == 0 {
            return;
        }
        self.sweep.last_tick = now;
        let slots = self.conns.capacity().div_ceil(TICKS_PER_PASS as usize) * ticks as usize;
        for _ in 0..slots {
            if self.sweep.next >= self.conns.capacity() {
                self.sweep.next = 0;
                self.log_budget = LOGGED_PER_PASS;
            }
            self.visit(super::shard::key(self.sweep.next), now);
            self.sweep.next += 1;
        }
    }

    fn visit(&mut self, key: u32, now: u32) {
        match self.due(key, now) {
            Due::Nothing => {}
            Due::Keepalive => {
                self.conns[key as usize].say(KEEPALIVE);
                self.catch_up(key);
            }
            Due::Warn => {
                let conn = &mut self.conns[key as usize];
                conn.warned = true;
                let seconds = conn.expires.saturating_sub(now) / TICKS_PER_PASS;
                let data = json!({ "expires_in_seconds": seconds });
                conn.say(&own_event("revenprox-token-expiring", None, None, &data));
                self.catch_up(key);
            }
            Due::Expire => {
                let text = own_event("revenprox-token-expired", None, None, &json!({ "reason": "expired" }));
                self.farewell(key, &text, CutReason::Expired);
            }
            Due::Drain => {
                let retry = jittered_ms(self.settings.retry);
                let text = own_event("revenprox-retry", None, Some(retry), &json!({ "reason": "draining" }));
                self.farewell(key, &text, CutReason::Drained);
            }
            Due::GiveUp => self.cut_slow(key),
        }
    }

    fn due(&self, key: u32, now: u32) -> Due {
        let Some(conn) = self.conns.get(key as usize).filter(|conn| conn.sink.is_counted()) else {
            return Due::Nothing;
        };
        let ticks = |time: Duration| u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
        let share = spread(key);
        let idle = now.saturating_sub(conn.last_write);
        if self.sweep.drain.is_some_and(|drain| now - drain.started >= scaled(drain.window, share)) {
            Due::Drain
        } else if now >= conn.expires {
            Due::Expire
        } else if !conn.warned
            && !self.settings.expiry_warning.is_zero()
            && now >= conn.expires.saturating_sub(ticks(self.settings.expiry_warning))
            && conn.expires != u32::MAX
        {
            Due::Warn
        } else if conn.stuck_since > 0 && now - conn.stuck_since >= ticks(self.settings.block)
            || conn.blocked && !self.settings.stall.is_zero() && idle >= ticks(self.settings.stall)
        {
            Due::GiveUp
        } else if !conn.blocked && idle >= keepalive_after(ticks(self.settings.keepalive), share) {
            Due::Keepalive
        } else {
            Due::Nothing
        }
    }

    /// Begins to end all connections, in an order that has nothing to do with when they came.
    pub(super) fn start_drain(&mut self, window: Duration) {
        let window = u32::try_from(window.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
        self.sweep.drain = Some(Drain { started: self.now(), window });
    }

    /// Ends a connection with a last text, as far as its sink takes it.
    pub(super) fn farewell(&mut self, key: u32, text: &[u8], reason: CutReason) {
        let conn = &mut self.conns[key as usize];
        conn.say(text);
        if conn.form == Form::Chunked {
            conn.push(LAST_CHUNK);
        }
        if let Some(outbox) = conn.outbox.take() {
            let _ = conn.sink.write(&[&outbox.bytes]);
        }
        self.doomed.push((key, reason));
    }

    /// Ends the connections that a cut names.
    pub(super) fn cut(&mut self, cut: &Cut) {
        let (found, reason): (Vec<u32>, _) = match cut {
            Cut::Slowest(count) => (self.slowest(*count), CutReason::Memory),
            Cut::Subject(sub) => (self.find(|id| id.subject() == Some(sub)), CutReason::Revoked),
            Cut::TokenId(jti) => (self.find(|id| id.token_id() == Some(jti)), CutReason::Revoked),
            Cut::KeyId(kid) => (self.find(|id| id.key_id() == Some(kid)), CutReason::Revoked),
        };
        let text = own_event("revenprox-closed", None, None, &json!({ "reason": reason.as_str() }));
        for key in found {
            self.farewell(key, &text, reason);
        }
        self.bury_doomed();
    }

    fn find(&self, matches: impl Fn(&Identity) -> bool) -> Vec<u32> {
        let found = self.conns.iter().filter(|(_, conn)| conn.identity.as_ref().is_some_and(&matches));
        found.map(|(key, _)| super::shard::key(key)).collect()
    }

    fn slowest(&self, count: usize) -> Vec<u32> {
        let blocked = self.conns.iter().filter(|(_, conn)| conn.blocked);
        let mut lags: Vec<_> = blocked.map(|(key, _)| (self.behind(key), super::shard::key(key))).collect();
        lags.sort_unstable_by(|a, b| b.cmp(a));
        lags.into_iter().take(count).map(|(_, key)| key).collect()
    }

    /// How many events a connection is behind.
    fn behind(&self, key: usize) -> u64 {
        let mut behind = 0;
        let mut next = self.conns[key].first_sub;
        while next != NONE {
            let sub = &self.subs[next as usize];
            behind += self.locals[sub.topic as usize].at.seq.saturating_sub(sub.cursor.seq);
            next = sub.next;
        }
        behind
    }

    /// Describes all connections, as far as the receiver takes them.
    pub(super) fn list(&self, sender: &tokio::sync::mpsc::Sender<SubscriberInfo>) {
        for (key, conn) in self.conns.iter().filter(|(_, conn)| conn.sink.is_counted()) {
            let mut topics = Vec::new();
            let mut next = conn.first_sub;
            while next != NONE {
                let sub = &self.subs[next as usize];
                topics.push(self.locals[sub.topic as usize].topic.name().as_str().to_owned());
                next = sub.next;
            }
            let info = SubscriberInfo {
                address: conn.address(),
                subject: conn.identity.as_ref().and_then(Identity::subject).map(str::to_owned),
                topics,
                age_seconds: u64::from((self.now() - conn.opened) / TICKS_PER_PASS),
                behind: self.behind(key),
                form: if conn.form == Form::Chunked { "chunked" } else { "raw" },
            };
            if sender.try_send(info).is_err() {
                return;
            }
        }
    }

    /// The tick at which a moment in seconds since the Unix epoch has passed.
    pub(super) fn tick_of(&self, unix_s: u64) -> u32 {
        let ms = unix_s.saturating_mul(1000).saturating_sub(now_ms());
        let ticks = u32::try_from(u128::from(ms).div_ceil(TICK.as_millis())).unwrap_or(u32::MAX);
        self.now().saturating_add(ticks)
    }
}

/// A reconnect delay drawn from half to one and a half of the middle, in milliseconds.
pub(crate) fn jittered_ms(middle: Duration) -> u32 {
    let middle = u32::try_from(middle.as_millis()).unwrap_or(u32::MAX / 2).max(MIDDLE_MS_MIN);
    let random = getrandom::u32().expect("the operating system has a source of randomness");
    middle / 2 + scaled(middle, random)
}

/// A reconnect delay below this would not spread anybody.
const MIDDLE_MS_MIN: u32 = 1_000;

/// A fixed random share of 2^32 for a slab index.
fn spread(key: u32) -> u32 {
    use std::hash::BuildHasher as _;
    (FixedState::with_seed(u64::from(std::process::id())).hash_one(key) >> 32) as u32
}

/// `share / 2^32` of `whole`.
fn scaled(whole: u32, share: u32) -> u32 {
    u32::try_from((u64::from(whole) * u64::from(share)) >> 32).expect("a share of 32 bits has 32 bits")
}

/// A silence between half the interval and, less one pass, the whole: those who were written to together are
/// not due together, and nobody waits longer than the interval.
fn keepalive_after(interval: u32, share: u32) -> u32 {
    let latest = interval.saturating_sub(TICKS_PER_PASS).max(1);
    latest - scaled(latest / 2, share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keepalives_are_spread_and_never_late() {
        let after: Vec<_> = (0..1000).map(|key| keepalive_after(240, spread(key))).collect();
        assert!(after.iter().all(|ticks| (116..=232).contains(ticks)));
        for quarter in 0_u32..4 {
            let range = 116 + quarter * 29..116 + (quarter + 1) * 29;
            let count = after.iter().filter(|ticks| range.contains(*ticks)).count();
            assert!((150..350).contains(&count), "{count} of 1000 in {range:?}");
        }
        assert_eq!(keepalive_after(1, 0), 1);
    }

    #[test]
    fn reconnect_delays_are_spread() {
        let delays: Vec<_> = (0..200).map(|_| jittered_ms(Duration::from_secs(4))).collect();
        assert!(delays.iter().all(|ms| (2_000..=6_000).contains(ms)));
        assert!(delays.iter().min().is_some_and(|ms| *ms < 3_000));
        assert!(delays.iter().max().is_some_and(|ms| *ms > 5_000));
    }
}
