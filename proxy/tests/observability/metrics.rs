//! `GET /metrics`.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::support::Proxy;

/// What `promtool check metrics` says of a text; nothing if all is well.
fn promtool(text: &str) -> String {
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed, as by Debian's package prometheus");
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

/// A proxy that has done some of everything.
fn used_proxy(settings: &[(&str, &str)]) -> Proxy {
    let proxy = Proxy::start(settings);
    let mut one = proxy.subscribe("/events/orders", &[]);
    let mut two = proxy.subscribe("/events?topic=orders&topic=other", &[]);
    for n in 0..3 {
        proxy.publish("orders", &[], &format!("event {n}"));
    }
    for stream in [&mut one, &mut two] {
        stream.wait_for("event 2");
    }
    drop(one);
    proxy.wait_for_metric("revenprox_connections_active", 1.0);
    proxy.wait_for_metric("revenprox_connections_ended_total{reason=\"hangup\"}", 1.0);
    drop(two);
    proxy.wait_for_metric("revenprox_connections_active", 0.0);
    proxy
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let proxy = used_proxy(&[]);
    let answer = proxy.get("/metrics");
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    assert_eq!(promtool(&answer.body), "");
    // A tool that never complains would pass everything.
    assert!(promtool("# TYPE x_ms counter\nx_ms 1\n").contains("x_ms"));
}

#[test]
fn numbers_are_what_happened() {
    let proxy = used_proxy(&[]);
    for (series, value) in [
        ("revenprox_connections_total", 2.0),
        ("revenprox_connection_duration_seconds_count", 2.0),
        ("revenprox_messages_published_total", 3.0),
        ("revenprox_messages_sent_total", 6.0),
        ("revenprox_messages_dropped_total", 0.0),
        ("revenprox_connections_rejected_total{reason=\"connections\"}", 0.0),
        ("revenprox_message_latency_seconds_count", 6.0),
        ("revenprox_topics_active", 1.0),
        ("revenprox_phase", 0.0),
    ] {
        proxy.wait_for_metric(series, value);
    }
    for series in [
        "revenprox_bytes_sent_total",
        "revenprox_history_bytes",
        "revenprox_http_connections_open",
        "revenprox_memory_used_bytes",
        "revenprox_fd_used",
        "revenprox_threads",
        "process_cpu_seconds_total",
    ] {
        assert!(proxy.metric(series) > 0.0, "{series}");
    }
    assert!(proxy.metric("revenprox_message_latency_seconds_sum") < 60.0);
}

#[test]
fn those_turned_away_are_counted_by_reason() {
    let proxy = Proxy::start(&[
        ("REVENPROX_HTTP__MAX_CONNECTIONS", "1"),
        ("REVENPROX_HTTP__REFUSE_WITH", "status"),
        ("REVENPROX_TELEMETRY__COMPAT_METRIC_NAMES", "true"),
    ]);
    let _taken = proxy.subscribe("/events/a", &[]);
    proxy.wait_for_metric("revenprox_connections_active", 1.0);
    assert_eq!(proxy.get("/events/a").status, 503);
    proxy.wait_for_metric("revenprox_connections_rejected_total{reason=\"connections\"}", 1.0);
    proxy.wait_for_metric("revenprox_connections_rejected", 1.0);
}

#[test]
fn a_publisher_that_repeats_itself_costs_one_key() {
    let proxy = Proxy::start(&[("REVENPROX_PUBLISH__IDEMPOTENCY_MAX_KEYS", "2")]);
    for key in ["a", "a", "b", "c"] {
        proxy.publish("orders", &[("idempotency-key", key)], "x");
    }
    proxy.wait_for_metric("revenprox_idempotency_keys", 2.0);
    proxy.wait_for_metric("revenprox_idempotency_keys_forgotten_total", 1.0);
    proxy.wait_for_metric("revenprox_messages_published_total", 3.0);
}

#[test]
fn older_names_are_shown_only_if_asked_for() {
    let older =
        ["connections_rejected ", "message_latency_ms_sum ", "auth_cache_hits ", "auth_cache_misses "]
            .map(|name| format!("\nrevenprox_{name}"));
    let modern = Proxy::start(&[]).get("/metrics").body;
    let compat = Proxy::start(&[("REVENPROX_TELEMETRY__COMPAT_METRIC_NAMES", "true")]).get("/metrics").body;
    for name in older {
        assert!(!modern.contains(&name) && compat.contains(&name), "{name}");
    }
}

#[test]
fn labels_never_name_topics_users_or_urls() {
    let proxy = used_proxy(&[]);
    let text = proxy.get("/metrics").body;
    assert!(!text.contains("orders") && !text.contains("127.0.0.1"), "{text}");
    let allowed = ["le", "reason", "verdict", "outcome", "version", "kind"];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, labels)) = line.split_once('{') else { continue };
        let name = labels.split('=').next().unwrap();
        assert!(allowed.contains(&name), "{line}");
    }
}

#[test]
fn switched_off_there_is_nothing_to_scrape() {
    let proxy = Proxy::start(&[("REVENPROX_METRICS_ENABLED", "false")]);
    assert_eq!(proxy.get("/metrics").status, 404);
    assert_eq!(proxy.get("/health").status, 200);
}

#[test]
fn everything_shown_is_documented_and_the_other_way_round() {
    let path = format!("{}/../documentation/reference/metrics.md", env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(path).unwrap();
    let cells = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    // Those of single peers are there once there are peers.
    let of_peers = |name: &&str| name.starts_with("revenprox_peer_");
    let mut documented: Vec<_> = cells.filter(|name| !of_peers(name)).map(str::to_owned).collect();
    documented.sort_unstable();
    let text = Proxy::start(&[("REVENPROX_TELEMETRY__COMPAT_METRIC_NAMES", "true")]).get("/metrics").body;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut shown: Vec<_> = types.map(str::to_owned).collect();
    shown.sort_unstable();
    assert_eq!(shown, documented);
}
