//! Instances that publish to one topic at once, whose events do not stand in the same order everywhere.

use std::{collections::BTreeMap, thread};

use super::cluster::Cluster;

/// Who moves from instance to instance while three publish sees every event once, though hardly two logs have the same order.
#[test]
fn a_subscriber_that_moves_sees_everything_once_whatever_the_order() {
    const EACH: usize = 400;
    let cluster = Cluster::start(3, "[history]\nmax_events_per_topic = 5000\n");
    let mut stream = cluster[0].subscribe("/events/a", "");
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut moves = 0;
    thread::scope(|scope| {
        for publisher in 0..3 {
            let proxy = &cluster[publisher];
            scope.spawn(move || {
                for n in 0..EACH {
                    proxy.publish("a", &format!("{publisher}-{n}"));
                }
                proxy.publish("a", "end");
            });
        }
        while seen.get("end").is_none_or(|ends| *ends < 3) {
            let first = stream.next().expect("the stream goes on");
            for event in std::iter::once(first).chain(stream.seen()) {
                assert_eq!(event.event, "message", "{event:?}");
                *seen.entry(event.data).or_default() += 1;
            }
            let last = format!("last-event-id: {}\r\n", stream.last_event_id());
            moves += 1;
            stream = cluster[moves % 3].subscribe("/events/a", &last);
        }
    });
    seen.remove("end");
    let all = (0..3).flat_map(|publisher| (0..EACH).map(move |n| format!("{publisher}-{n}")));
    let times = |event: &String| seen.get(event).copied().unwrap_or_default();
    let wrong: Vec<_> = all.map(|event| (times(&event), event)).filter(|(times, _)| *times != 1).collect();
    let between = cluster.sum("revenprox_resumes_reordered_total");
    assert_eq!(wrong, [], "{moves} moves, {between} between orders");
}
