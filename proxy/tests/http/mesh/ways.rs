//! Ways between instances that are slow, lose packets, or lead in one direction only.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::network::Network;
use crate::support::{Stream, wait_until};

/// Publishes events at the first instance, each after the one before has come to a subscriber of another. Returns how long
/// that took.
fn publish(network: &Network, healthy: &mut Stream, what: &str, count: usize) -> Duration {
    let began = Instant::now();
    for n in 0..count {
        let data = format!("{what} {n} {}", "x".repeat(4000));
        network[0].publish("a", &data);
        assert_eq!(healthy.next_data(), data);
    }
    began.elapsed()
}

/// The third instance is behind a way that takes twenty seconds for what the others exchange in a moment, and loses packets. It
/// gets everything all the same, and nobody waits for it.
#[test]
fn a_peer_behind_a_slow_way_gets_everything_and_delays_nobody() {
    Network::run(3, "", |network| {
        let mut healthy = network[1].subscribe("/events/a", "");
        let mut slow = network[2].subscribe("/events/a", "");
        let before = publish(network, &mut healthy, "before", 300);
        network.slow_down(2, "512kbit");
        let during = publish(network, &mut healthy, "during", 300);
        let held = network[0].metric("revenprox_peer_held_bytes");
        assert!(held > 100_000, "the way is slow: {held} bytes wait for it");
        assert_eq!(slow.take_data(320).len(), 320);
        network.speed_up(2);
        let after = publish(network, &mut healthy, "after", 300);
        assert_eq!(slow.take_data(580).len(), 580);
        // Whoever waited for the slow way would take many times as long.
        let limit = before * 4 + Duration::from_secs(2);
        assert!(during < limit && after < limit, "{before:?} before, {during:?} during, {after:?} after");
        for metric in ["revenprox_mesh_lost_total", "revenprox_mesh_events_dropped_total"] {
            assert_eq!(network.sum(metric), 0, "{metric}");
        }
    });
}

/// What the first instance sends does not reach the second, while the other direction works and both reach the third.
#[test]
fn a_way_in_one_direction_parts_two_and_no_others_and_what_was_missed_is_told() {
    Network::run(3, "[distributed_state]\npeer_timeout_sec = 2\n", |network| {
        let mut cut_off = network[1].subscribe("/events/a", "");
        let mut healthy = network[2].subscribe("/events/a", "");
        let before = publish(network, &mut healthy, "before", 100);
        assert_eq!(cut_off.take_data(100).len(), 100);
        network.close(0, 1);
        let mut published = 0;
        let mut during = Duration::ZERO;
        wait_until("the two to take each other for gone", || {
            during += publish(network, &mut healthy, "parting", 10);
            published += 10;
            // Whoever is cut off gets all of it at once, and does not read meanwhile: it has to fit into a queue.
            thread::sleep(Duration::from_millis(100));
            let peers = |index: usize| network[index].metric("revenprox_peers_connected");
            peers(0) == 1 && peers(1) == 1
        });
        let per_event = during / published;
        during = publish(network, &mut healthy, "parted", 100);
        published += 100;
        assert_eq!(network[2].metric("revenprox_peers_connected"), 2);
        network[2].publish("a", "from the third");
        assert_eq!(healthy.next_data(), "from the third");
        network.open(1);
        network.wait_for_peers();
        // It is as good as ever, and what did not come is told.
        let after = publish(network, &mut healthy, "after", 100);
        let limit = before * 4 + Duration::from_secs(2);
        assert!(
            per_event * 100 < limit && during < limit && after < limit,
            "{before:?} {during:?} {after:?}"
        );
        let (mut came, mut from_the_third, mut good) = (0, 0, 0);
        while good < 100 || from_the_third < 1 {
            match cut_off.next_data() {
                data if data == "from the third" => from_the_third += 1,
                data if data.starts_with("after ") => good += 1,
                _ => came += 1,
            }
        }
        let missed = u64::from(published).saturating_sub(came);
        wait_until("what was missed to be told", || network[1].metric("revenprox_mesh_lost_total") >= missed);
    });
}
