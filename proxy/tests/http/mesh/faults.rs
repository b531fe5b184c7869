//! Instances that die, return, or stand still.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cluster::Cluster;
use crate::support::wait_until;

#[test]
fn an_instance_that_was_killed_is_missed_and_returns_under_its_name() {
    let mut cluster = Cluster::start(3, "[distributed_state]\npeer_timeout_sec = 2\n");
    let mut staying = cluster[0].subscribe("/events/a", "");
    for round in 0..3 {
        cluster.kill(1);
        cluster[2].publish("a", &format!("while it is gone {round}"));
        assert_eq!(staying.next_data(), format!("while it is gone {round}"));
        cluster.restart(1);
        cluster.wait_for_peers();
        let mut returned = cluster[1].subscribe("/events/a", "");
        cluster[2].publish("a", "again");
        assert_eq!((staying.next_data(), returned.next_data()), ("again".to_owned(), "again".to_owned()));
    }
}

#[test]
fn an_instance_that_ends_says_so() {
    let mut cluster = Cluster::start(2, "[distributed_state]\npeer_timeout_sec = 600\n");
    cluster[1].signal(Signal::TERM);
    cluster[0].wait_for_log("\"why\":\"Left\"", 1);
    cluster.kill(1);
}

/// A peer that stands still costs nobody else anything, and gets what waited for it when it goes on.
#[test]
fn a_peer_that_stands_still_delays_nobody_else() {
    let cluster = Cluster::start(3, "[distributed_state]\npeer_timeout_sec = 600\n");
    let mut healthy = cluster[1].subscribe("/events/a", "");
    let mut still = cluster[2].subscribe("/events/a", "");
    let data = "x".repeat(1000);
    let mut publish = |count: usize| {
        let began = Instant::now();
        for _ in 0..count {
            cluster[0].publish("a", &data);
            assert_eq!(healthy.next_data(), data);
        }
        began.elapsed()
    };
    publish(100);
    let before = publish(300);
    cluster[2].signal(Signal::STOP);
    let during = publish(300);
    // It is far more than noise when somebody waits for a peer: that would be seconds.
    assert!(during < before * 5 + Duration::from_secs(2), "{during:?} instead of {before:?}");
    let peers = cluster.admin(0, "GET /admin/peers", "").json();
    let peer = peers["peers"].as_array().unwrap().iter().find(|peer| peer["name"] == "instance-2").unwrap();
    assert!(peer["bytes_held"].as_u64().unwrap() < 64 << 20, "{peer}");
    cluster[2].signal(Signal::CONT);
    assert_eq!(still.take_data(700).len(), 700);
    wait_until("nothing to wait for it", || {
        let peers = cluster.admin(0, "GET /admin/peers", "").json();
        peers["peers"].as_array().unwrap().iter().all(|peer| peer["batches_in_flight"] == 0)
    });
}

/// What waits for a peer that stands still is bounded; what is beyond is counted here and told there.
#[test]
fn a_queue_that_is_full_is_counted_and_told() {
    let config = "[distributed_state]\npeer_timeout_sec = 600\n[history]\nmax_events_per_topic = 100\n";
    let cluster = Cluster::start(2, &format!("{config}[publish]\nmax_batch_events = 10000\n"));
    let _stream = cluster[1].subscribe("/events/a", "");
    cluster[1].signal(Signal::STOP);
    let line = "{\"topic\":\"a\",\"data\":\"x\"}\n";
    let batch = line.repeat(5_000);
    let headers = "content-type: application/x-ndjson\r\n";
    // 256 batches of 256 events are on their way at most, and 65,536 events wait.
    while cluster[0].metric("revenprox_mesh_events_dropped_total") == 0 {
        assert_eq!(cluster[0].post("/events", headers, &batch).status, 202);
    }
    let dropped = cluster[0].metric("revenprox_mesh_events_dropped_total");
    cluster[1].signal(Signal::CONT);
    wait_until("the loss to be told", || cluster[1].metric("revenprox_mesh_lost_total") == dropped);
}
