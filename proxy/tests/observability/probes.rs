//! `GET /livez` and `GET /readyz`.

use crate::support::{Proxy, wait_until};

#[test]
fn a_proxy_that_delivers_is_ready_and_its_own_events_are_not_counted() {
    let proxy = Proxy::start(&[]);
    for _ in 0..3 {
        for path in ["/readyz", "/livez"] {
            let answer = proxy.get(path);
            assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "{path}");
        }
    }
    for series in [
        "revenprox_connections_active",
        "revenprox_connections_total",
        "revenprox_messages_published_total",
        "revenprox_messages_sent_total",
        "revenprox_bytes_sent_total",
        "revenprox_message_latency_seconds_count",
        "revenprox_topics_active",
    ] {
        assert!(proxy.metric(series) == 0.0, "{series}");
    }
}

#[test]
fn nobody_can_listen_to_the_proxy_s_own_events() {
    let proxy = Proxy::start(&[]);
    assert_eq!(proxy.get("/events/%00canary").status, 400);
    assert_eq!(proxy.get("/events?topic=%00canary").status, 400);
}

#[test]
fn a_proxy_that_drains_lives_but_is_not_ready() {
    let proxy = Proxy::start(&[]);
    let _stream = proxy.subscribe("/events/orders", &[]);
    proxy.terminate();
    wait_until(|| proxy.get("/readyz").status == 503, || "/readyz says 503".to_owned());
    assert_eq!(proxy.get("/readyz").body, "draining\n");
    assert_eq!(proxy.get("/livez").status, 200);
    assert!(proxy.metric("revenprox_phase") > 0.0);
}
