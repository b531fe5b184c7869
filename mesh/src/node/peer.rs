//! What is known of another instance.

use std::time::Duration;

use super::Settings;
use crate::{
    Now,
    identity::{Address, Session},
    interest::{Summary, Theirs},
    link::{Incoming, Outgoing},
    wire::Mark,
};

/// How long a batch that seems to be missing may still be on its way: a batch overtaken by another is rare, one
/// that waits for a connection to be made anew is not.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);

/// The first hello is repeated after this time, each further one after twice as long.
const HELLO_AGAIN: Duration = Duration::from_millis(50);

/// Clocks that differ by more are wrong, and no reason to wait.
const AHEAD_MS_MAX: i64 = 60_000;

/// Another instance, live or not.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) name: String,
    /// Its present run, as far as it is heard.
    pub(super) session: Session,
    pub(super) addresses: Vec<Address>,
    /// Addresses that are dialled and lead to it.
    pub(super) dialled: Vec<Address>,
    /// The link that is used.
    pub(super) at: Option<Address>,
    /// The address under which it reaches this instance.
    pub(super) reaches_us_at: Option<Address>,
    /// By how much its clock is ahead of the one here, in milliseconds; too little by the time that a message takes.
    pub(super) clock_ahead_ms: i64,
    /// When anything was heard of this session.
    pub(super) met: Duration,
    /// When it last answered this instance's session.
    pub(super) heard: Option<Duration>,
    pub(super) live: bool,
    /// Events that it may have missed since it was taken for gone, to be told when it is back in the same run.
    pub(super) missed: u64,
    /// It said that this run of it ends; what comes of it later is late.
    pub(super) left: bool,
    pub(super) hello_at: Duration,
    pub(super) hellos: u32,
    pub(super) beat_at: Duration,
    pub(super) epoch: u32,
    pub(super) out: Outgoing,
    pub(super) in_epoch: u32,
    pub(super) incoming: Incoming,
    pub(super) interest: Theirs,
    /// Its interest at its last beat, until it has been compared.
    pub(super) summary: Option<Summary>,
    /// The version of this instance's interest that it knows.
    pub(super) knows: u64,
    /// The version at which the link to it began anew. It forgets what it knew when it sees that.
    pub(super) knows_from: u64,
    /// What is being fetched from it.
    pub(super) asking: Asking,
    /// The roots of the facts differed at its last beat.
    pub(super) facts_differ: bool,
    /// Where it stands in the timers.
    pub(super) timer: Option<Duration>,
    pub(super) lost_events: u64,
    pub(super) lost_batches: u64,
    pub(super) events_in: u64,
    pub(super) events_out: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// What is being fetched from a peer, once at a time. Ranges are asked for again while an answer may be lost.
#[derive(Debug, Default)]
pub(super) struct Asking {
    pub(super) interest: bool,
    pub(super) facts: bool,
}

// === impl Peer ===

impl Peer {
    /// Notes what its clock says.
    pub(super) fn note_clock(&mut self, now: Now, clock_ms: u64) {
        self.clock_ahead_ms =
            clock_ms.checked_signed_diff(now.unix_ms).unwrap_or(0).clamp(-AHEAD_MS_MAX, AHEAD_MS_MAX);
    }

    /// The run that it can be told it is heard in, if it is.
    pub(super) fn answers(&self, now: Now, settings: &Settings) -> Session {
        let heard = !self.session.is_none() && now.elapsed < self.met + settings.peer_timeout;
        if heard { self.session } else { Session::default() }
    }

    /// Whether it has lately answered this instance's session.
    pub(super) fn is_heard(&self, now: Now, settings: &Settings) -> bool {
        self.heard.is_some_and(|at| now.elapsed < at + settings.peer_timeout)
    }

    /// Begins with a new run of it.
    pub(super) fn begin(&mut self, session: Session, epoch: u32, now: Now) {
        self.session = session;
        self.heard = None;
        self.missed = 0;
        self.left = false;
        self.hellos = 0;
        self.hello_at = now.elapsed;
        self.begin_incoming(0);
        self.begin_outgoing(epoch);
        self.interest.forget();
        self.summary = None;
        self.asking = Asking::default();
    }

    /// Begins the link from it anew.
    pub(super) fn begin_incoming(&mut self, epoch: u32) {
        self.in_epoch = epoch;
        self.incoming = Incoming::default();
    }

    /// Begins the link to it anew. What waited is gone with the run that it was for.
    pub(super) fn begin_outgoing(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.out = Outgoing::default();
    }

    /// When the next hello leaves, after one has.
    pub(super) fn greeted(&mut self, now: Now, settings: &Settings) {
        let wait = HELLO_AGAIN * 2_u32.saturating_pow(self.hellos.min(10));
        self.hellos += 1;
        self.hello_at = now.elapsed + wait.min(settings.heartbeat.max(HELLO_AGAIN));
    }

    /// The acknowledgement to send, noted as sent.
    pub(super) fn ack(&mut self) -> Mark {
        Mark { epoch: self.in_epoch, number: self.incoming.ack() }
    }

    /// The newest batch that was sent.
    pub(super) fn last(&self) -> Mark {
        Mark { epoch: self.epoch, number: self.out.last() }
    }

    /// When it has to be looked after next. `up` says whether the link to it is.
    pub(super) fn next_due(&self, settings: &Settings, window: usize, up: bool) -> Option<Duration> {
        let silent = self.live.then(|| self.heard.unwrap_or_default() + settings.peer_timeout);
        let hello = (up && !self.live).then_some(self.hello_at);
        let live_and_up = up && self.live;
        let flows = live_and_up.then(|| {
            let batch = self.out.due(window, &settings.link);
            let ack = self.incoming.ack_due(window);
            let gap = self.incoming.gap_due(PATIENCE);
            [Some(self.beat_at), batch, ack, gap].into_iter().flatten().min()
        });
        [silent, hello, flows.flatten()].into_iter().flatten().min()
    }
}
