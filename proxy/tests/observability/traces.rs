//! Traces, as a collector receives them.

use std::time::Instant;

use http::StatusCode;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::{
    collector::{Collector, attribute},
    support::{PATIENCE, Proxy, wait_until},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traced_proxy(collector: &Collector, more: &[(&str, &str)]) -> Proxy {
    let url = collector.url();
    let mut settings = vec![
        ("REVENPROX_TELEMETRY__OTLP_ENDPOINT", url.as_str()),
        ("REVENPROX_TELEMETRY__SERVICE_NAME", "edge"),
        ("REVENPROX_HTTP__THREAD_POOL_SIZE", "2"),
    ];
    settings.extend(more);
    Proxy::start(&settings)
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

fn is_within(inner: &Span, outer: &Span) -> bool {
    outer.start_time_unix_nano <= inner.start_time_unix_nano
        && inner.end_time_unix_nano <= outer.end_time_unix_nano
}

#[test]
fn one_trace_covers_a_publish_its_routing_and_its_delivery() {
    let collector = Collector::start();
    let proxy = traced_proxy(&collector, &[]);
    // Subscribers go to the shards in turn.
    let mut streams = [0, 1].map(|_| proxy.subscribe("/events/orders", &[]));
    proxy.wait_for_metric("revenprox_connections_active", 2.0);
    let parent = traceparent("01");
    proxy.publish("orders", &[("traceparent", &parent), ("tracestate", "vendor=x")], "hello");
    for stream in &mut streams {
        stream.wait_for("hello");
    }
    drop(streams);
    proxy.wait_for_metric("revenprox_connections_active", 0.0);
    proxy.stop();

    let (publish, append, deliver) =
        (collector.span("publish"), collector.span("append"), collector.spans("deliver"));
    assert_eq!(deliver.len(), 2, "one for each shard");
    for span in [&publish, &append, &deliver[0], &deliver[1]] {
        assert_eq!((hex(&span.trace_id).as_str(), span.trace_state.as_str()), (TRACE, "vendor=x"));
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    assert_eq!(hex(&publish.parent_span_id), PARENT);
    assert_eq!(append.parent_span_id, publish.span_id);
    assert!(is_within(&append, &publish));
    assert_eq!(attribute(&publish.attributes, "http.response.status_code"), "202");
    assert_eq!(attribute(&append.attributes, "messaging.destination.name"), "orders");
    let mut shards = Vec::new();
    for span in &deliver {
        assert_eq!(span.parent_span_id, append.span_id);
        assert!(span.start_time_unix_nano >= append.start_time_unix_nano);
        assert_eq!(attribute(&span.attributes, "revenprox.subscribers"), "1");
        assert_eq!(attribute(&span.attributes, "revenprox.events"), "1");
        shards.push(attribute(&span.attributes, "revenprox.shard"));
    }
    shards.sort_unstable();
    assert_eq!(shards, ["0", "1"]);
    assert_eq!(collector.resource("service.name"), "edge");
}

/// The instance that delivers goes on with the trace of the one that accepted.
#[test]
fn a_trace_crosses_the_mesh() {
    let collector = Collector::start();
    let folder = tempfile::tempdir().unwrap();
    let address = |name: &str| format!("ipc://{}/{name}", folder.path().display());
    let start = |name: &str, peer: &str| {
        traced_proxy(
            &collector,
            &[
                ("REVENPROX_PROXY_ID", name),
                ("REVENPROX_NNG__LISTEN_ADDRESSES", &address(name)),
                ("REVENPROX_NNG__PEER_ADDRESSES", &address(peer)),
            ],
        )
    };
    let (accepts, delivers) = (start("a", "b"), start("b", "a"));
    for proxy in [&accepts, &delivers] {
        proxy.wait_for_metric("revenprox_peers_connected", 1.0);
    }
    let mut stream = delivers.subscribe("/events/orders", &[]);
    accepts.publish("orders", &[("traceparent", &traceparent("01"))], "hello");
    stream.wait_for("hello");
    drop(stream);
    delivers.wait_for_metric("revenprox_connections_active", 0.0);
    accepts.stop();
    delivers.stop();
    let (append, deliver) = (collector.span("append"), collector.span("deliver"));
    assert_eq!(hex(&deliver.trace_id), TRACE);
    assert_eq!(deliver.parent_span_id, append.span_id);
}

#[test]
fn a_publisher_decides_and_else_the_ratio_does() {
    let collector = Collector::start();
    let proxy = traced_proxy(&collector, &[("REVENPROX_TELEMETRY__OTLP_SAMPLE_RATIO", "0.0")]);
    proxy.publish("orders", &[], "not sampled by the ratio");
    proxy.publish("orders", &[("traceparent", &traceparent("01"))], "sampled by the publisher");
    proxy.stop();
    assert_eq!(hex(&collector.span("publish").trace_id), TRACE);

    let collector = Collector::start();
    let proxy = traced_proxy(&collector, &[]);
    proxy.publish("orders", &[("traceparent", &traceparent("00"))], "not sampled by the publisher");
    proxy.publish("orders", &[("traceparent", "00-nonsense")], "sampled by the ratio");
    proxy.stop();
    let publish = collector.span("publish");
    assert_ne!(hex(&publish.trace_id), TRACE);
    assert!(publish.parent_span_id.is_empty(), "{publish:?}");
}

#[test]
fn each_event_of_a_batch_has_a_way_of_its_own() {
    let collector = Collector::start();
    let proxy = traced_proxy(&collector, &[]);
    let body = "{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"b\",\"data\":2}\n";
    let answer = proxy.request("POST", "/events", &[("content-type", "application/x-ndjson")], body);
    assert_eq!(answer.status, 202);
    proxy.stop();
    let publish = collector.span("publish");
    let append = collector.spans("append");
    assert!(append.iter().all(|span| span.parent_span_id == publish.span_id));
    let mut topics: Vec<_> =
        append.iter().map(|span| attribute(&span.attributes, "messaging.destination.name")).collect();
    topics.sort_unstable();
    assert_eq!(topics, ["a", "b"]);
}

#[test]
fn a_refused_publish_is_traced_with_its_status() {
    let collector = Collector::start();
    let proxy = traced_proxy(&collector, &[]);
    let answer = proxy.request("POST", "/events/orders?retry=soon", &[], "x");
    assert_eq!(answer.status, 400);
    proxy.stop();
    assert_eq!(attribute(&collector.span("publish").attributes, "http.response.status_code"), "400");
    assert_eq!(collector.spans("append"), []);
}

#[test]
fn a_collector_that_fails_is_counted_and_logged_once() {
    let collector = Collector::answering(Some(StatusCode::BAD_REQUEST));
    let proxy = traced_proxy(&collector, &[]);
    for _ in 0..2 {
        let before = collector.requests();
        proxy.publish("orders", &[], "x");
        wait_until(|| collector.requests() > before, || "another request".to_owned());
    }
    wait_until(
        || proxy.metric("revenprox_trace_spans_failed_total") >= 4.0,
        || "publish and append failed twice".to_owned(),
    );
    let log = proxy.stop();
    assert_eq!(log.matches("the collector does not take spans").count(), 1, "{log}");
}

#[test]
fn a_collector_that_never_answers_does_not_keep_a_proxy_from_ending() {
    let collector = Collector::answering(None);
    let proxy = traced_proxy(&collector, &[]);
    proxy.publish("orders", &[], "x");
    wait_until(|| collector.requests() > 0, || "a request".to_owned());
    proxy.publish("orders", &[], "y");
    let start = Instant::now();
    proxy.stop();
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}
