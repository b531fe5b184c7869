//! Why a request was not granted, in one enum: the text for the client, the label for the metric, the status
//! class.

use std::{borrow::Cow, time::Duration};

use super::{Action, Refusal, TOKEN_BYTES_MAX, random::jittered};

/// Every way in which authorisation ends without a grant. The texts are shown to clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("a token is needed; send it as Authorization: Bearer")]
    Missing,
    #[error("the token has more than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("the token is not a well-formed JWT")]
    Malformed,
    #[error("the token's algorithm is not accepted for its key")]
    Algorithm,
    #[error("no configured key fits the token")]
    UnknownKey,
    #[error("the token's signature does not verify")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token's issuer is not accepted")]
    Issuer,
    #[error("the token is not meant for this audience")]
    Audience,
    #[error("the token has no usable claim `{0}`")]
    Claim(&'static str),
    #[error("the token does not allow to {0} this topic")]
    Forbidden(Action),
    /// The webhook said no, perhaps with a reason.
    #[error("{}", .0.as_deref().unwrap_or("the token was refused by the verifier"))]
    Denied(Option<Box<str>>),
    #[error("{0}")]
    Unavailable(Cause, Duration),
}

/// Why nobody could judge the token just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    #[error("the token verifier is failing; come back later")]
    BreakerOpen,
    #[error("too many tokens are to be verified; come back later")]
    Ceiling,
    #[error("too many tokens are being verified; come back later")]
    InFlight,
    #[error("the token verifier did not answer; come back later")]
    Webhook,
    #[error("the keys of the token's issuer could not be fetched; come back later")]
    Jwks,
}

// === impl Failure ===

impl Failure {
    /// All values that [`Self::label`] can have.
    pub(crate) const LABELS: [&'static str; 18] = [
        "missing",
        "too_long",
        "malformed",
        "algorithm",
        "unknown_key",
        "signature",
        "expired",
        "not_yet_valid",
        "issuer",
        "audience",
        "claim",
        "forbidden",
        "denied",
        "breaker_open",
        "ceiling",
        "in_flight",
        "webhook",
        "jwks",
    ];

    /// The reason as a metric's label: one of a fixed few.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claim(_) => "claim",
            Self::Forbidden(_) => "forbidden",
            Self::Denied(_) => "denied",
            Self::Unavailable(Cause::BreakerOpen, _) => "breaker_open",
            Self::Unavailable(Cause::Ceiling, _) => "ceiling",
            Self::Unavailable(Cause::InFlight, _) => "in_flight",
            Self::Unavailable(Cause::Webhook, _) => "webhook",
            Self::Unavailable(Cause::Jwks, _) => "jwks",
        }
    }

    /// Whether this is a judgement about the token, which may be remembered, and not a passing trouble.
    pub(crate) fn is_verdict(&self) -> bool {
        !matches!(self, Self::Unavailable(..))
    }

    /// What the client is told.
    pub(crate) fn into_refusal(self) -> Refusal {
        let reason = match &self {
            Self::Denied(Some(reason)) => Cow::Owned(reason.to_string()),
            other => Cow::Owned(other.to_string()),
        };
        match self {
            Self::Missing => Refusal::Missing,
            Self::Forbidden(_) => Refusal::Forbidden { reason },
            Self::Unavailable(_, wait) => Refusal::Unavailable { reason, retry_after: jittered(wait) },
            _ => Refusal::Invalid { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_status_class() {
        assert_eq!(Failure::Missing.into_refusal(), Refusal::Missing);
        assert!(matches!(Failure::Expired.into_refusal(), Refusal::Invalid { .. }));
        assert!(matches!(Failure::Forbidden(Action::Publish).into_refusal(), Refusal::Forbidden { .. }));
        let wait = Duration::from_secs(10);
        match Failure::Unavailable(Cause::BreakerOpen, wait).into_refusal() {
            Refusal::Unavailable { retry_after, .. } => {
                assert!(retry_after >= wait && retry_after <= wait * 2);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_webhook_s_reason_is_passed_on() {
        let refusal = Failure::Denied(Some("account closed".into())).into_refusal();
        assert_eq!(refusal, Refusal::Invalid { reason: "account closed".into() });
    }
}
