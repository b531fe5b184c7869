//! Claims: reading them, judging them, and making a grant of them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::{Action, Grant, failure::Failure, permission::Permissions};
use crate::{config::auth::Auth, topic::TopicName};

/// The longest `sub` and `jti`, in bytes: they are kept for as long as a stream lives.
const IDENTITY_BYTES_MAX: usize = revenprox_mesh::facts::TEXT_BYTES_MAX;

/// The claims that matter here (RFC 7519, section 4.1, and ours).
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Claims {
    pub(crate) sub: Option<String>,
    pub(crate) exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    iss: Option<String>,
    aud: Option<OneOrMany>,
    pub(crate) jti: Option<String>,
    permissions: Option<Vec<String>>,
    revenprox: Option<Permissions>,
}

/// Seconds since 1970 without the fraction (RFC 7519, section 2). Negative ones are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumericDate(pub(crate) u64);

/// What claims are held against.
#[derive(Debug)]
pub(crate) struct Rules {
    issuers: Vec<String>,
    audiences: Vec<String>,
    pub(crate) leeway: u64,
    pub(crate) default_permissions: Permissions,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

// === impl Claims ===

impl Claims {
    /// Checks the claims of a token whose signature is right. `issuer` is the one that the key belongs to, if
    /// it says so; `now` is the unix time in seconds.
    pub(crate) fn check(&self, rules: &Rules, issuer: Option<&str>, now: u64) -> Result<(), Failure> {
        if self.sub.as_deref().is_none_or(str::is_empty) {
            return Err(Failure::Claim("sub"));
        }
        self.check_identity()?;
        let exp = self.exp.ok_or(Failure::Claim("exp"))?;
        if rules.is_over(exp.0, now) {
            return Err(Failure::Expired);
        }
        let latest = now.saturating_add(rules.leeway);
        if [self.nbf, self.iat].into_iter().flatten().any(|time| time.0 > latest) {
            return Err(Failure::NotYetValid);
        }
        let is_from = |accepted: &str| self.iss.as_deref() == Some(accepted);
        let among = rules.issuers.is_empty() || rules.issuers.iter().any(|accepted| is_from(accepted));
        if !among || !issuer.is_none_or(is_from) {
            return Err(Failure::Issuer);
        }
        let meant = |accepted: &String| self.aud.as_ref().is_some_and(|aud| aud.contains(accepted));
        if !rules.audiences.is_empty() && !rules.audiences.iter().any(meant) {
            return Err(Failure::Audience);
        }
        Ok(())
    }

    /// Checks that what a grant keeps is of bounded size.
    pub(crate) fn check_identity(&self) -> Result<(), Failure> {
        let too_long =
            |claim: &Option<String>| claim.as_ref().is_some_and(|text| text.len() > IDENTITY_BYTES_MAX);
        if too_long(&self.sub) {
            return Err(Failure::Claim("sub"));
        }
        if too_long(&self.jti) {
            return Err(Failure::Claim("jti"));
        }
        Ok(())
    }

    /// Checks that the action is allowed: by `revenprox` alone if that claim is there, else by `permissions`,
    /// else by the default.
    pub(crate) fn permit(&self, rules: &Rules, action: Action, topic: &TopicName) -> Result<(), Failure> {
        let allowed = match (&self.revenprox, &self.permissions) {
            (Some(own), _) if !own.is_bounded() => return Err(Failure::Claim("revenprox")),
            (Some(own), _) => own.allow(action, topic),
            (None, Some(names)) => {
                Permissions::of_names(names.iter().map(String::as_str)).allow(action, topic)
            }
            (None, None) => rules.default_permissions.allow(action, topic),
        };
        if allowed { Ok(()) } else { Err(Failure::Forbidden(action)) }
    }

    /// The grant that these claims give.
    pub(crate) fn into_grant(self, rules: &Rules, key_id: Option<&str>, now: u64) -> Grant {
        Grant {
            subject: self.sub.map(Into::into),
            token_id: self.jti.map(Into::into),
            key_id: key_id.map(Into::into),
            expires_at: self.exp.map(|exp| rules.end_of(exp.0, now)),
        }
    }
}

// === impl Rules ===

impl Rules {
    /// The rules that the settings give.
    pub(crate) fn new(auth: &Auth) -> Self {
        Self {
            issuers: auth.issuers.clone(),
            audiences: auth.audiences.clone(),
            leeway: auth.leeway_sec,
            default_permissions: Permissions::of_settings(&auth.default_permissions),
        }
    }

    /// Whether an `exp` is past, leeway included.
    pub(crate) fn is_over(&self, exp: u64, now: u64) -> bool {
        exp.saturating_add(self.leeway) <= now
    }

    /// When a grant under this `exp` ends: then; or, for a token that is taken after its `exp` thanks to the
    /// leeway, at the end of that.
    pub(crate) fn end_of(&self, exp: u64, now: u64) -> u64 {
        if exp > now { exp } else { exp.saturating_add(self.leeway) }
    }
}

// === impl OneOrMany ===

impl OneOrMany {
    fn contains(&self, text: &str) -> bool {
        match self {
            Self::One(one) => one == text,
            Self::Many(many) => many.iter().any(|one| one == text),
        }
    }
}

// === impl NumericDate ===

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumericDateVisitor)
    }
}

struct NumericDateVisitor;

impl Visitor<'_> for NumericDateVisitor {
    type Value = NumericDate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds since 1970")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<NumericDate, E> {
        Ok(NumericDate(seconds))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked before"
    )]
    fn visit_f64<E: Error>(self, seconds: f64) -> Result<NumericDate, E> {
        // 2^53: beyond it a double has no exact seconds.
        if (0.0..=9_007_199_254_740_992.0).contains(&seconds) {
            Ok(NumericDate(seconds as u64))
        } else {
            Err(E::custom("the time is out of range"))
        }
    }
}

#[cfg(test)]
mod tests;
