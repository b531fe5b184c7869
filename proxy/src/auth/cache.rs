//! Remembered verdicts of the webhook. Pure: the time is an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::{Action, Grant, failure::Failure, lru::Lru};
use crate::topic::TopicId;

/// How many entries are looked at for being out of date whenever one is added.
const SWEEP: usize = 4;

/// While memory is short, this part of what may be remembered is.
const SHRUNK_TO: usize = 4;

/// What a verdict is about. The token itself is not kept, only its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    token: [u8; 32],
    topic: TopicId,
    action: Action,
}

/// A moment, by both clocks: verdicts age by the steady one, tokens expire by the calendar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// The steady clock.
    pub(crate) steady: Instant,
    /// Seconds since 1970.
    pub(crate) unix: u64,
}

/// A verdict: a grant, or why not.
pub(crate) type Verdict = Result<Grant, Failure>;

/// Two bounded stores, so that a flood of bad tokens cannot push out the good ones.
#[derive(Debug)]
pub(crate) struct VerdictCache {
    granted: Lru<Key, Entry<Grant>>,
    refused: Lru<Key, Entry<Failure>>,
    limits: Limits,
    short: bool,
}

/// How long and how many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) granted_ttl: Duration,
    pub(crate) granted_max: usize,
    pub(crate) refused_ttl: Duration,
    pub(crate) refused_max: usize,
}

#[derive(Debug)]
struct Entry<T> {
    until: Instant,
    verdict: T,
}

// === impl Key ===

impl Key {
    /// The key of a token presented for an action on a topic.
    pub(crate) fn new(token: &str, topic: TopicId, action: Action) -> Self {
        Self { token: Sha256::digest(token.as_bytes()).into(), topic, action }
    }
}

// === impl Now ===

impl Now {
    /// The present.
    pub(crate) fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { steady: Instant::now(), unix }
    }
}

// === impl VerdictCache ===

impl VerdictCache {
    /// An empty cache.
    pub(crate) fn new(limits: Limits) -> Self {
        let (granted, refused) = (Lru::new(limits.granted_max), Lru::new(limits.refused_max));
        Self { granted, refused, limits, short: false }
    }

    /// The remembered verdict, if it still holds.
    pub(crate) fn get(&mut self, key: &Key, now: Now) -> Option<Verdict> {
        if let Some(entry) = self.granted.get(key) {
            let expired = entry.verdict.expires_at.is_some_and(|exp| exp <= now.unix);
            if entry.until > now.steady && !expired {
                return Some(Ok(entry.verdict.clone()));
            }
            self.granted.remove(key);
        }
        if let Some(entry) = self.refused.get(key) {
            if entry.until > now.steady {
                return Some(Err(entry.verdict.clone()));
            }
            self.refused.remove(key);
        }
        None
    }

    /// Remembers a verdict: a grant at most until it expires, a refusal for a short time, passing trouble not
    /// at all.
    pub(crate) fn insert(&mut self, key: Key, verdict: &Verdict, now: Now) {
        self.granted.sweep(SWEEP, |entry| entry.until <= now.steady);
        self.refused.sweep(SWEEP, |entry| entry.until <= now.steady);
        match verdict {
            Ok(grant) => {
                let left = grant.expires_at.map(|exp| Duration::from_secs(exp.saturating_sub(now.unix)));
                let ttl = left.map_or(self.limits.granted_ttl, |left| left.min(self.limits.granted_ttl));
                if !ttl.is_zero() {
                    self.refused.remove(&key);
                    self.granted.insert(key, Entry { until: now.steady + ttl, verdict: grant.clone() });
                }
            }
            Err(failure) if failure.is_verdict() && !self.limits.refused_ttl.is_zero() => {
                self.granted.remove(&key);
                let until = now.steady + self.limits.refused_ttl;
                self.refused.insert(key, Entry { until, verdict: failure.clone() });
            }
            Err(_) => {}
        }
    }

    /// How many grants and refusals are remembered.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.granted.len(), self.refused.len())
    }

    /// Puts new limits in force; what is remembered is kept as far as they allow.
    pub(crate) fn reconfigure(&mut self, limits: Limits, now: Instant) {
        self.limits = limits;
        self.resize();
        for entry in self.granted.values_mut() {
            entry.until = entry.until.min(now + limits.granted_ttl);
        }
        for entry in self.refused.values_mut() {
            entry.until = entry.until.min(now + limits.refused_ttl);
        }
    }

    /// Remembers a quarter of what the limits allow while memory is short: the most recently used.
    pub(crate) fn shrink(&mut self, short: bool) {
        self.short = short;
        self.resize();
    }

    fn resize(&mut self) {
        let part = if self.short { SHRUNK_TO } else { 1 };
        self.granted.resize(self.limits.granted_max / part);
        self.refused.resize(self.limits.refused_max / part);
    }
}

#[cfg(test)]
mod tests;
