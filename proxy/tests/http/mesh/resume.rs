//! A subscriber that comes back to another instance goes on where it was.

use rustix::process::Signal;

use super::cluster::Cluster;
use crate::support::{Stream, wait_until};

/// Comes back to an instance after what `stream` has seen.
fn resume(cluster: &Cluster, at: usize, path: &str, stream: &Stream) -> Stream {
    cluster[at].subscribe(path, &format!("last-event-id: {}\r\n", stream.last_event_id()))
}

#[test]
fn what_was_missed_is_there_on_every_other_instance() {
    let mut cluster = Cluster::start(4, "");
    let topics: Vec<_> = (0..20).map(|n| format!("topic-{n}")).collect();
    let path = |topic: &String| format!("/events/{topic}");
    let mut streams: Vec<_> = topics.iter().map(|topic| cluster[0].subscribe(&path(topic), "")).collect();
    for (n, topic) in topics.iter().enumerate() {
        cluster[n % 4].publish(topic, "seen");
        assert_eq!(streams[n].next_data(), "seen");
    }
    cluster.kill(0);
    for (n, topic) in topics.iter().enumerate() {
        cluster[1 + n % 3].publish(topic, "missed 1");
        cluster[1 + (n + 1) % 3].publish(topic, "missed 2");
    }
    for (n, topic) in topics.iter().enumerate() {
        let mut back = resume(&cluster, 1 + (n + 2) % 3, &path(topic), &streams[n]);
        // Those of different instances within a millisecond have no order that everybody agrees on.
        let mut missed = back.take_data(2);
        missed.sort_unstable();
        assert_eq!(missed, ["missed 1", "missed 2"], "{topic}");
        cluster[1 + n % 3].publish(topic, "live");
        assert_eq!(back.next_data(), "live");
        streams[n] = back;
    }
    let gaps: usize = streams.iter().map(|stream| stream.lossy_text().matches("revenprox-gap").count()).sum();
    assert_eq!(gaps, 0);
}

#[test]
fn a_first_visit_sees_what_others_kept() {
    let cluster = Cluster::start(3, "");
    for n in 0..30 {
        cluster[n % 3].publish("a", &n.to_string());
    }
    for at in 0..3 {
        let mut stream = cluster[at].subscribe("/events/a?since=earliest", "");
        let mut seen: Vec<usize> = stream.take_data(30).iter().map(|data| data.parse().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..30).collect::<Vec<_>>(), "instance {at}");
    }
}

#[test]
fn a_herd_that_comes_back_costs_one_fetch() {
    const HERD: usize = 200;
    let mut cluster = Cluster::start(3, "[history]\nkeepers = 1\n");
    // One of these is kept by neither of the instances that are left to come back to.
    let mut streams: Vec<_> =
        (0..HERD).map(|n| cluster[0].subscribe(&format!("/events/{}", n % 2), "")).collect();
    for topic in ["0", "1"] {
        cluster[1].publish(topic, "seen");
    }
    for stream in &mut streams {
        assert_eq!(stream.next_data(), "seen");
    }
    drop(streams.drain(..100).collect::<Vec<_>>());
    for n in 0..50 {
        cluster[2].publish(&(n % 2).to_string(), &n.to_string());
    }
    let questions = || cluster.sum("revenprox_history_fetches_total");
    let before = questions();
    let mut back: Vec<_> = streams
        .iter()
        .enumerate()
        .map(|(n, stream)| resume(&cluster, 1 + n % 2, &format!("/events/{}", n % 2), stream))
        .collect();
    for (n, stream) in back.iter_mut().enumerate() {
        let expected: Vec<_> = (0..50).filter(|m| m % 2 == n % 2).map(|m| m.to_string()).collect();
        assert_eq!(stream.take_data(25), expected);
    }
    assert!(questions() - before <= 4, "{} fetches for two topics on two instances", questions() - before);
    drop(back);
    cluster.kill(0);
}

#[test]
fn several_topics_on_one_connection_resume_together() {
    let mut cluster = Cluster::start(3, "");
    let path = "/events?topic=a&topic=b&topic=c";
    let mut stream = cluster[0].subscribe(path, "");
    for n in 0..30 {
        cluster[n % 3].publish(["a", "b", "c"][n % 3], &n.to_string());
        assert_eq!(stream.next_data(), n.to_string());
    }
    cluster.kill(0);
    for n in 30..60 {
        cluster[1 + n % 2].publish(["a", "b", "c"][n % 3], &n.to_string());
    }
    let mut back = resume(&cluster, 2, path, &stream);
    let mut seen: Vec<usize> = back.take_data(30).iter().map(|data| data.parse().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (30..60).collect::<Vec<_>>());
}

#[test]
fn what_nobody_has_is_a_gap_that_is_told() {
    let mut cluster = Cluster::start(2, "[history]\nkeepers = 1\n");
    let mut streams: Vec<_> = (0..8).map(|n| cluster[0].subscribe(&format!("/events/{n}"), "")).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        cluster[0].publish(&n.to_string(), "seen");
        assert_eq!(stream.next_data(), "seen");
        cluster[0].publish(&n.to_string(), "missed");
    }
    cluster.wait_for_quiet();
    cluster.kill(0);
    wait_until("it to be missed", || cluster[1].metric("revenprox_peers_connected") == 0);
    let mut gaps = 0;
    for (n, stream) in streams.iter().enumerate() {
        let mut back = resume(&cluster, 1, &format!("/events/{n}"), stream);
        cluster[1].publish(&n.to_string(), "live");
        let first = back.next().unwrap();
        match first.event.as_str() {
            // With one keeper, what the dead one kept is gone.
            "revenprox-gap" => gaps += 1,
            _ => assert_eq!(first.data, "missed"),
        }
        assert_eq!(back.next_data(), "live");
    }
    assert!((1..8).contains(&gaps), "{gaps} gaps for eight topics on two keepers");
}

#[test]
fn a_replicated_event_outlives_the_instance_that_accepted_it() {
    let mut cluster = Cluster::start(3, "");
    let mut streams: Vec<_> = (0..10).map(|n| cluster[0].subscribe(&format!("/events/{n}"), "")).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        assert_eq!(
            cluster[0].post(&format!("/events/{n}?ack=replicated"), "", "seen").json()["ack"],
            "replicated"
        );
        assert_eq!(stream.next_data(), "seen");
    }
    for n in 0..10 {
        let answer = cluster[0].post(&format!("/events/{n}"), "revenprox-ack: replicated\r\n", "missed");
        assert_eq!((answer.status, answer.json()["ack"].as_str()), (202, Some("replicated")));
    }
    cluster.kill(0);
    for (n, stream) in streams.iter().enumerate() {
        let mut back = resume(&cluster, 1 + n % 2, &format!("/events/{n}"), stream);
        assert_eq!(back.next_data(), "missed", "topic {n}");
    }
}

#[test]
fn a_lone_instance_replicates_nothing_and_says_so() {
    let cluster = Cluster::start(1, "[publish]\nreplicated_timeout_ms = 100\n");
    let mut stream = cluster[0].subscribe("/events/a", "");
    let key = "idempotency-key: k\r\n";
    for _ in 0..2 {
        let answer = cluster[0].post("/events/a?ack=replicated", key, "x");
        assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true));
    }
    assert_eq!(cluster[0].post("/events/a?ack=all", key, "x").status, 400);
    assert_eq!(cluster[0].post("/events/a", key, "x").json()["ack"], "accepted");
    cluster[0].publish("a", "next");
    assert_eq!(stream.take_data(2), ["x", "next"], "it is one event however often it is tried");
}

/// Each instance in turn goes and comes back, so that whatever is there at the end has been moved.
#[test]
fn history_outlives_all_who_kept_it_first() {
    for by in ["kill", "drain"] {
        let mut cluster = Cluster::start(3, "[http]\ndrain_window_sec = 0\n");
        let mut streams: Vec<_> =
            (0..20).map(|n| cluster[0].subscribe(&format!("/events/{n}"), "")).collect();
        for (n, stream) in streams.iter_mut().enumerate() {
            cluster[n % 3].post(&format!("/events/{n}?ack=replicated"), "", "seen");
            assert_eq!(stream.next_data(), "seen");
        }
        let mut missed = Vec::new();
        for round in 0..3 {
            for n in 0..20 {
                let answer =
                    cluster[round].post(&format!("/events/{n}?ack=replicated"), "", &round.to_string());
                assert_eq!(answer.status, 202, "{answer:?}");
            }
            missed.push(round.to_string());
            if by == "drain" {
                cluster.drain(round);
            } else {
                cluster.kill(round);
            }
            wait_until("it to be missed", || cluster.sum("revenprox_peers_connected") == 2);
            cluster.wait_for_moves();
            cluster.restart(round);
            cluster.wait_for_peers();
            wait_until("the newcomer to have been given its share", || cluster.history(round) > 0);
            cluster.wait_for_moves();
        }
        for (n, stream) in streams.iter().enumerate() {
            let mut back = resume(&cluster, n % 3, &format!("/events/{n}"), stream);
            assert_eq!(back.take_data(3), missed, "topic {n} by {by}");
        }
    }
}

#[test]
fn what_passed_by_an_instance_that_stood_still_arrives_when_it_goes_on() {
    let cluster = Cluster::start(3, "[distributed_state]\npeer_timeout_sec = 2\n");
    let mut streams: Vec<_> = (0..10).map(|n| cluster[2].subscribe(&format!("/events/{n}"), "")).collect();
    cluster[2].signal(Signal::STOP);
    wait_until("it to be missed", || (0..2).all(|n| cluster[n].metric("revenprox_peers_connected") == 1));
    let mut expected = Vec::new();
    for round in 0..5 {
        for n in 0..10 {
            cluster[(n + round) % 2].publish(&n.to_string(), &round.to_string());
        }
        expected.push(round.to_string());
    }
    cluster[2].signal(Signal::CONT);
    for stream in &mut streams {
        let mut came = stream.take_data(5);
        came.sort_unstable();
        assert_eq!(came, expected);
    }
    cluster.wait_for_peers();
    for (n, stream) in streams.iter_mut().enumerate() {
        cluster[0].publish(&n.to_string(), "live");
        assert_eq!(stream.next_data(), "live", "nothing comes twice");
    }
}

/// What passed by an instance while nobody wanted the topic there is not taken for not published, though its clock has not
/// heard of it either.
#[test]
fn an_instance_that_had_subscribers_long_ago_asks_for_what_passed_it_by() {
    let cluster = Cluster::start(3, "[history]\nkeepers = 1\n");
    let topics = |at: usize| (0..6).map(move |n| format!("{at}-{n}"));
    let path = |topic: &String| format!("/events/{topic}");
    for (at, topic) in (0..3).flat_map(|at| topics(at).map(move |topic| (at, topic))) {
        let mut stream = cluster[at].subscribe(&path(&topic), "");
        cluster[(at + 1) % 3].publish(&topic, "one");
        assert_eq!(stream.next_data(), "one");
    }
    wait_until("nobody to want them any more", || cluster.sum("revenprox_mesh_topics_announced") == 0);
    for (at, topic) in (0..3).flat_map(|at| topics(at).map(move |topic| (at, topic))) {
        let (publisher, other) = ((at + 1) % 3, (at + 2) % 3);
        let mut stream = cluster[other].subscribe(&path(&topic), "");
        cluster[publisher].publish(&topic, "two");
        assert_eq!(stream.next_data(), "two");
        cluster[publisher].publish(&topic, "three");
        let mut back = resume(&cluster, at, &path(&topic), &stream);
        cluster[publisher].publish(&topic, "four");
        assert_eq!(back.take_data(2), ["three", "four"], "{topic} at {at}");
    }
}

#[test]
fn a_subscriber_that_has_had_no_event_has_a_place_if_it_asks_for_one() {
    let mut cluster = Cluster::start(3, "");
    let path = |n: usize| format!("/events/{n}?since=now");
    cluster[0].publish("0", "before");
    let mut streams: Vec<_> = (0..6).map(|n| cluster[0].subscribe(&path(n), "")).collect();
    for stream in &mut streams {
        stream.wait_for_text("\n\n");
        assert!(!stream.last_event_id().is_empty() && stream.seen().is_empty(), "{}", stream.lossy_text());
    }
    cluster.kill(0);
    for n in 0..6 {
        cluster[1].publish(&n.to_string(), "missed");
    }
    for (n, stream) in streams.iter().enumerate() {
        let mut back = resume(&cluster, 2, &path(n), stream);
        cluster[1].publish(&n.to_string(), "live");
        assert_eq!(back.take_data(2), ["missed", "live"], "{n}");
    }
}
