//! Between the proxy's types and the mesh's.

use opentelemetry::{
    TraceFlags,
    trace::{SpanContext, SpanId, TraceId, TraceState},
};
use revenprox_mesh::{
    facts::Fact,
    identity,
    wire::{Stamp, TRACE_BYTES},
};

use crate::{
    event::{EventId, Origin},
    revocation::Claim,
    topic::TopicId,
};

/// Kinds of facts.
const SUBJECT: u8 = 1;
const TOKEN_ID: u8 = 2;
const KEY_ID: u8 = 3;

pub(super) fn to_mesh(topic: TopicId) -> identity::TopicId {
    identity::TopicId(topic.as_uuid().as_u128())
}

pub(super) fn to_topic(topic: identity::TopicId) -> TopicId {
    TopicId::from_u128(topic.0)
}

pub(super) fn to_id(stamp: Stamp) -> EventId {
    EventId::from_packed(stamp.clock, Origin(stamp.origin))
}

pub(super) fn to_trace(context: &SpanContext) -> [u8; TRACE_BYTES] {
    let mut out = [0; TRACE_BYTES];
    out[..16].copy_from_slice(&context.trace_id().to_bytes());
    out[16..24].copy_from_slice(&context.span_id().to_bytes());
    out[24] = context.trace_flags().to_u8();
    out
}

pub(super) fn to_context(trace: &[u8; TRACE_BYTES]) -> SpanContext {
    let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
    trace_id.copy_from_slice(&trace[..16]);
    span_id.copy_from_slice(&trace[16..24]);
    let (trace_id, span_id) = (TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id));
    SpanContext::new(trace_id, span_id, TraceFlags::new(trace[24]), true, TraceState::default())
}

/// `None` if the claim is too long to be told to others.
pub(super) fn to_fact(claim: &Claim, until_ms: u64) -> Option<Fact> {
    let (kind, text) = match claim {
        Claim::Subject(text) => (SUBJECT, text),
        Claim::TokenId(text) => (TOKEN_ID, text),
        Claim::KeyId(text) => (KEY_ID, text),
    };
    Fact::new(kind, text, until_ms)
}

/// `None` for kinds of a later version.
pub(super) fn to_claim(fact: &Fact) -> Option<Claim> {
    let text = fact.text().to_owned();
    match fact.kind() {
        SUBJECT => Some(Claim::Subject(text)),
        TOKEN_ID => Some(Claim::TokenId(text)),
        KEY_ID => Some(Claim::KeyId(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_and_claims_survive_the_way() {
        let context = SpanContext::new(
            TraceId::from_bytes([7; 16]),
            SpanId::from_bytes([9; 8]),
            TraceFlags::SAMPLED,
            true,
            TraceState::default(),
        );
        assert_eq!(to_context(&to_trace(&context)), context);
        for claim in [Claim::Subject("a".into()), Claim::TokenId("b".into()), Claim::KeyId("c".into())] {
            assert_eq!(to_claim(&to_fact(&claim, 5).unwrap()), Some(claim));
        }
        assert_eq!(to_fact(&Claim::Subject("a".repeat(256)), 5), None);
    }
}
