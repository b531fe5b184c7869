//! Several instances as one system.

mod cluster;
mod faults;
mod ingest;
mod network;
mod order;
mod resume;
mod security;
mod settling;
mod ways;

use serde_json::Value;

use self::cluster::Cluster;
use crate::support::{SECRET, token, unix_now, wait_until};

#[test]
fn an_event_reaches_subscribers_of_every_instance_once() {
    let cluster = Cluster::start(3, "");
    let mut streams: Vec<_> = (0..3).map(|i| cluster[i].subscribe("/events/news", "")).collect();
    for publisher in 0..3 {
        cluster[publisher].publish("news", &format!("from {publisher}"));
        for stream in &mut streams {
            assert_eq!(stream.next_data(), format!("from {publisher}"));
        }
    }
    let ids: Vec<_> = streams.iter().map(|stream| stream.last_event_id().to_owned()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "an event has one id everywhere: {ids:?}");
    assert_eq!(cluster.sum("revenprox_mesh_events_forwarded_total"), 6);
    assert_eq!(cluster.sum("revenprox_mesh_events_unwanted_total"), 0);
}

#[test]
fn without_history_an_event_visits_only_instances_that_may_have_subscribers() {
    let cluster = Cluster::start(3, "[history]\nmax_events_per_topic = 0\n");
    let mut stream = cluster[2].subscribe("/events/a", "");
    for _ in 0..20 {
        cluster[0].publish("a", "x");
        cluster[0].publish("nobody", "x");
    }
    assert_eq!(stream.take_data(20).len(), 20);
    assert_eq!(cluster.sum("revenprox_mesh_events_forwarded_total"), 20);
    assert!(cluster[1].metric("revenprox_mesh_received_bytes_total") > 0);
    assert_eq!(cluster[1].metric("revenprox_mesh_events_taken_total"), 0);
}

/// Once the response's head is there, an event that is published anywhere arrives.
#[test]
fn a_subscribe_is_effective_everywhere_when_it_is_answered() {
    let cluster = Cluster::start(3, "");
    for n in 0..100 {
        let topic = format!("topic-{n}");
        let mut stream = cluster[n % 3].subscribe(&format!("/events/{topic}"), "");
        cluster[(n + 1) % 3].publish(&topic, "first");
        assert_eq!(stream.next_data(), "first", "topic {n}");
    }
}

#[test]
fn several_topics_of_one_subscriber_come_from_everywhere() {
    let cluster = Cluster::start(2, "");
    let mut stream = cluster[0].subscribe("/events?topic=a&topic=b&topic=c", "");
    for n in 0..30 {
        cluster[n % 2].publish(["a", "b", "c"][n % 3], &n.to_string());
    }
    let mut data: Vec<usize> = stream.take_data(30).iter().map(|data| data.parse().unwrap()).collect();
    data.sort_unstable();
    assert_eq!(data, (0..30).collect::<Vec<_>>());
}

#[test]
fn presence_counts_subscribers_of_all_instances() {
    let cluster = Cluster::start(3, "");
    let count = |instance: usize| {
        let answer = cluster[instance].get("/presence/room", "");
        assert_eq!(answer.status, 200, "{answer:?}");
        let json = answer.json();
        assert_eq!(json["complete"], Value::Bool(true));
        (json["subscribers"].as_u64().unwrap(), json["instances"].as_u64().unwrap())
    };
    assert_eq!(count(0), (0, 0));
    let _streams: Vec<_> = [0, 1, 1].map(|i| cluster[i].subscribe("/events/room", "")).into();
    wait_until("all to be counted", || count(2) == (3, 2));
    assert_eq!(count(0), (3, 2));
    assert_eq!(cluster[0].post("/presence/room", "", "x").status, 405);
    assert_eq!(cluster[0].get("/presence/%FF", "").status, 400);
}

#[test]
fn a_revocation_ends_streams_everywhere_and_outlives_restarts() {
    let config = format!(
        "[jwt_verifier]\nrequire_authentication = true\n[auth]\nkeys = [{{ algorithm = \"HS256\", secret = \"{SECRET}\" }}]\n"
    );
    let mut cluster = Cluster::start(3, &config);
    let claims = |jti: &str| {
        let rights = serde_json::json!({ "subscribe": ["*"], "publish": ["*"] });
        serde_json::json!({ "sub": "mallory", "jti": jti, "exp": unix_now() + 600, "revenprox": rights })
    };
    let header = |jti: &str| format!("authorization: Bearer {}\r\n", token(&claims(jti)));
    let mut streams: Vec<_> = (0..3).map(|i| cluster[i].subscribe("/events/a", &header("bad"))).collect();
    let mut good = cluster[1].subscribe("/events/a", &header("good"));
    let revoked = cluster.admin(0, "POST /admin/revoke", "{\"jti\":\"bad\"}");
    assert_eq!(revoked.status, 200, "{revoked:?}");
    for stream in &mut streams {
        let (events, _) = stream.rest();
        let last = events.last().unwrap();
        assert!(last.event == "revenprox-closed" && last.data.contains("revoked"), "{last:?}");
    }
    // All but the last begin anew, and learn it from that one.
    for i in 0..2 {
        cluster.kill(i);
    }
    for i in 0..2 {
        cluster.restart(i);
    }
    cluster.wait_for_peers();
    wait_until("the revocation to be known", || (0..3).all(|i| cluster[i].metric("revenprox_facts") == 1));
    for i in 0..3 {
        assert_eq!(cluster[i].get("/events/a", &header("bad")).status, 401, "instance {i}");
        let _other = cluster[i].subscribe("/events/a", &header("good"));
    }
    drop(good.rest());
}

#[test]
fn the_admin_listener_shows_each_peer() {
    let cluster = Cluster::start(3, "");
    let _stream = cluster[1].subscribe("/events/a", "");
    cluster[0].publish("a", "x");
    let peers = || cluster.admin(0, "GET /admin/peers", "").json()["peers"].as_array().unwrap().clone();
    wait_until("a beat that counts the topic", || {
        peers().iter().any(|peer| peer["name"] == "instance-1" && peer["topics"] == 1)
    });
    let peers = peers();
    assert_eq!(peers.len(), 2);
    for peer in peers {
        assert_eq!((&peer["live"], &peer["link_up"]), (&Value::Bool(true), &Value::Bool(true)));
        assert!(peer["interest_version"].is_u64() && peer["silent_ms"].as_u64().unwrap() < 5_000, "{peer}");
        let sent = u64::from(peer["name"] == "instance-1");
        assert_eq!(peer["events_sent"], sent);
    }
}

#[test]
fn metrics_name_each_peer() {
    let cluster = Cluster::start(2, "");
    let text = cluster[0].get("/metrics", "").body;
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../documentation/reference/metrics.md");
    let document = std::fs::read_to_string(document).unwrap();
    let documented =
        document.lines().filter_map(|line| line.strip_prefix("| `revenprox_peer_")?.split('`').next());
    let documented: Vec<_> = documented.collect();
    assert!(documented.len() >= 7, "{documented:?}");
    for name in documented {
        assert!(text.contains(&format!("revenprox_peer_{name}{{peer=\"instance-1\"}} ")), "{name} in {text}");
    }
}

#[test]
fn an_instance_alone_has_no_mesh_and_answers_for_itself() {
    let proxy = crate::support::Proxy::start("");
    let _stream = proxy.subscribe("/events/a", "");
    wait_until("the subscriber to be counted", || proxy.get("/presence/a", "").json()["subscribers"] == 1);
    assert_eq!(proxy.metric("revenprox_peers_connected"), 0);
}

/// Ten instances, random subscribers and publishers: everybody gets what is theirs, once.
#[test]
fn ten_instances_deliver_everything_once() {
    let cluster = Cluster::start(10, "");
    let mut streams: Vec<_> = (0..40)
        .map(|n| (n % 7, cluster[n * 3 % 10].subscribe(&format!("/events/topic-{}", n % 7), "")))
        .collect();
    for n in 0..210 {
        cluster[n * 7 % 10].publish(&format!("topic-{}", n % 7), &n.to_string());
    }
    for (topic, stream) in &mut streams {
        let mut data: Vec<usize> = stream.take_data(30).iter().map(|data| data.parse().unwrap()).collect();
        data.sort_unstable();
        assert_eq!(data, (0..30).map(|n| n * 7 + *topic).collect::<Vec<_>>());
    }
    assert_eq!(cluster.sum("revenprox_mesh_lost_total"), 0);
}
