//! Revoked tokens: refused until they would have expired anyway.

use std::time::{Duration, Instant};

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
pub struct Revocations(RwLock<HashMap<Claim, Instant>>);

// === impl Revocations ===

impl Revocations {
    /// Revokes for a time. `false` if there are too many.
    pub fn add(&self, claim: Claim, time: Duration) -> bool {
        let now = Instant::now();
        let mut revoked = self.0.write();
        if revoked.len() >= REVOCATIONS_MAX {
            revoked.retain(|_, until| *until > now);
        }
        if revoked.len() >= REVOCATIONS_MAX && !revoked.contains_key(&claim) {
            return false;
        }
        let until = now.checked_add(time).unwrap_or(now + Duration::from_hours(24 * 365));
        let entry = revoked.entry(claim).or_insert(until);
        *entry = until.max(*entry);
        true
    }

    /// Whether a token with these claims is revoked.
    pub fn covers(&self, grant: &Grant) -> bool {
        let revoked = self.0.read();
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

    /// How many are remembered.
    pub fn count(&self) -> usize {
        self.0.read().len()
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
}
