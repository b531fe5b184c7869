//! Revoked tokens: refused until they would have expired anyway.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::auth::Grant;

/// How many revocations are in force at a time at most.
pub const REVOCATIONS_MAX: usize = 100_000;

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// All tokens of this `sub`.
    Subject(String),
    /// The token of this `jti`.
    TokenId(String),
    /// All tokens signed with the key of this `kid`.
    KeyId(String),
}

/// The revocations in force.
#[derive(Default)]
pub struct Revocations {
    until: RwLock<HashMap<Claim, Instant>>,
    rejected: AtomicU64,
}

// === impl Revocations ===

impl Revocations {
    /// Revokes for a time. `false` if there are too many.
    pub fn add(&self, claim: Claim, time: Duration) -> bool {
        let now = Instant::now();
        let mut revoked = self.until.write();
        if revoked.len() >= REVOCATIONS_MAX {
            revoked.retain(|_, until| *until > now);
        }
        if revoked.len() >= REVOCATIONS_MAX && !revoked.contains_key(&claim) {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let until = now.checked_add(time).unwrap_or(now + Duration::from_hours(24 * 365));
        let entry = revoked.entry(claim).or_insert(until);
        *entry = until.max(*entry);
        true
    }

    /// Whether a token with these claims is revoked.
    pub fn covers(&self, grant: &Grant) -> bool {
        let revoked = self.until.read();
        if revoked.is_empty() {
            return false;
        }
        let now = Instant::now();
        let claims = [
            grant.subject.as_deref().map(|sub| Claim::Subject(sub.to_owned())),
            grant.token_id.as_deref().map(|jti| Claim::TokenId(jti.to_owned())),
            grant.key_id.as_deref().map(|kid| Claim::KeyId(kid.to_owned())),
        ];
        claims.iter().flatten().any(|claim| revoked.get(claim).is_some_and(|until| *until > now))
    }

    /// How many are in force.
    pub fn in_force(&self) -> usize {
        let now = Instant::now();
        self.until.read().values().filter(|until| **until > now).count()
    }

    /// How many were not taken because there were too many.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(subject: &str, token_id: &str, key_id: &str) -> Grant {
        Grant {
            subject: Some(subject.into()),
            token_id: Some(token_id.into()),
            key_id: Some(key_id.into()),
            expires_at: None,
        }
    }

    #[test]
    fn each_claim_revokes_for_its_time() {
        let revoked = Revocations::default();
        assert!(!revoked.covers(&grant("a", "1", "k")));
        assert!(revoked.add(Claim::Subject("a".into()), Duration::from_mins(1)));
        assert!(revoked.add(Claim::TokenId("2".into()), Duration::MAX));
        assert!(revoked.add(Claim::KeyId("old".into()), Duration::ZERO));
        assert!(revoked.covers(&grant("a", "1", "k")));
        assert!(revoked.covers(&grant("b", "2", "k")));
        assert!(!revoked.covers(&grant("b", "1", "old")), "its time is over");
        assert!(!revoked.covers(&grant("k", "a", "2")), "a claim counts only as what it is");
    }

    #[test]
    fn there_is_a_bound_and_it_is_counted() {
        let revoked = Revocations::default();
        let hour = Duration::from_hours(1);
        assert!(revoked.add(Claim::KeyId("over".into()), Duration::ZERO));
        for n in 1..REVOCATIONS_MAX {
            assert!(revoked.add(Claim::TokenId(n.to_string()), hour));
        }
        assert_eq!(revoked.in_force(), REVOCATIONS_MAX - 1);
        assert!(revoked.add(Claim::Subject("a".into()), hour), "what is over makes room");
        assert!(!revoked.add(Claim::Subject("b".into()), hour));
        assert!(revoked.add(Claim::Subject("a".into()), hour), "what is revoked already needs none");
        assert_eq!((revoked.in_force(), revoked.rejected()), (REVOCATIONS_MAX, 1));
    }
}
