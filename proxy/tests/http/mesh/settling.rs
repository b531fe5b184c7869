//! A new instance is ready once it is part of the mesh.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cluster::Cluster;
use crate::support::{Proxy, wait_until};

fn wait_for_ready(proxy: &Proxy) {
    wait_until("the instance to be ready", || proxy.get("/readyz", "").status == 200);
}

#[test]
fn whoever_is_ready_has_what_it_keeps() {
    const TOPICS: usize = 300;
    let mut cluster = Cluster::start(1, "[history]\nkeepers = 2\n");
    for topic in 0..TOPICS {
        cluster[0].publish(&format!("topic-{topic}"), "first");
        cluster[0].publish(&format!("topic-{topic}"), "second");
    }
    let new = cluster.add();
    wait_for_ready(&cluster[new]);
    cluster.kill(0);
    for topic in 0..TOPICS {
        let mut stream = cluster[new].subscribe(&format!("/events/topic-{topic}?since=earliest"), "");
        assert_eq!(stream.take_data(2), ["first", "second"], "topic-{topic}");
    }
    assert_eq!(cluster[new].metric("revenprox_mesh_left_out"), 0);
}

#[test]
fn whoever_comes_in_place_of_a_machine_that_is_gone_is_met_at_once() {
    let mut cluster = Cluster::start(3, "[distributed_state]\npeer_timeout_sec = 60\n");
    // Its connections stay up, and nobody is there any more.
    cluster[2].signal(Signal::STOP);
    let gone = cluster.replace(2);
    wait_for_ready(&cluster[2]);
    let mut stream = cluster[2].subscribe("/events/a", "");
    cluster[0].publish("a", "hello");
    assert_eq!(stream.next_data(), "hello");
    drop(stream);
    gone.signal(Signal::CONT);
}

#[test]
fn an_instance_that_does_not_answer_is_not_waited_for_forever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let began = Instant::now();
    let proxy = Proxy::start(&format!(
        "[nng]\nlisten_addresses = [\"ipc://{path}/own\"]\npeer_addresses = [\"ipc://{path}/own\", \"ipc://{path}/gone\"]\n\
         [discovery]\nready_timeout_ms = 2000\n"
    ));
    let waits = "waiting for 1 other instances to answer\n";
    wait_until("all but the other to be met", || proxy.get("/readyz", "").body == waits);
    assert_eq!(proxy.get("/readyz", "").status, 503);
    wait_for_ready(&proxy);
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(proxy.metric("revenprox_mesh_left_out"), 1);
}
