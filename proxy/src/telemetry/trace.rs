//! The spans of a publish: its request, its way into a topic's log, and its delivery by each shard.
//!
//! A publisher's W3C `traceparent` and `tracestate` are continued. Spans have a target of their own, so that
//! logs do not repeat them; without an exporter each costs the check that nobody listens.

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::TextMapPropagator as _,
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::topic::TopicName;

/// The target of all spans.
pub const TARGET: &str = "revenprox_trace";

/// A request that publishes, as the child of the span that its headers name.
pub fn publish(headers: &HeaderMap, topic: Option<&TopicName>) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "publish",
        otel.kind = "server",
        otel.status_code = Empty,
        messaging.destination.name = topic.map(TopicName::as_str),
        http.response.status_code = Empty,
    );
    if !span.is_disabled() {
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        // The span is new, so its parent can be set.
        let _ = span.set_parent(parent);
    }
    span
}

/// Notes how a request was answered.
pub fn answered(span: &Span, status: http::StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// The way of one event into the log of its topic, including the wait for room and the waking of shards.
pub fn append(topic: &TopicName) -> Span {
    info_span!(target: TARGET, "append", otel.kind = "producer", messaging.destination.name = topic.as_str())
}

/// The current span, if it is one that is recorded.
pub fn current() -> Option<SpanContext> {
    let context = Span::current().context().span().span_context().clone();
    context.is_sampled().then_some(context)
}

/// One pass of a shard over the subscribers of a topic, as the child of the append of one of its events. It
/// ends when it is dropped.
pub fn deliver(parent: SpanContext, shard: usize, subscribers: usize, events: u64) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "deliver",
        otel.kind = "consumer",
        revenprox.shard = shard as u64,
        revenprox.subscribers = subscribers as u64,
        revenprox.events = events,
    );
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    span
}
