//! The mesh's families.

use prometheus::proto::MetricType;
use revenprox_mesh::node::PeerView;

use super::family::{Families, counter, gauge, label};
use crate::mesh;

/// Everything about other instances. Without a mesh all counts are 0 and there are no peers.
pub(super) fn families(all: &mut Families, r: &mesh::Reading, remote: &RemoteReading) {
    let live = r.peers.iter().filter(|peer| peer.live);
    let silent = live.clone().map(|peer| peer.silent.as_secs_f64()).fold(0.0, f64::max);
    all.gauge(
        "revenprox_peers_connected",
        "Other instances that hear this one and are heard",
        live.count() as f64,
    );
    all.gauge(
        "revenprox_sync_lag_seconds",
        "Since the peer that has been silent for longest was heard",
        silent,
    );
    traffic(all, r);
    events(all, r, remote);
    faults(all, r);
    state(all, r);
    history(all, r);
    peers(all, &r.peers);
}

fn history(all: &mut Families, r: &mesh::Reading) {
    let (done, failed) = r.fetches;
    all.counter(
        "revenprox_history_fetches_total",
        "Times that a topic's history was fetched from others for a subscriber that came back",
        done,
    );
    all.counter(
        "revenprox_history_fetches_failed_total",
        "Such times in which nobody answered within history.resume_wait_ms",
        failed,
    );
    let (topics, bytes, refused) = r.moved;
    all.counter(
        "revenprox_history_moved_topics_total",
        "Topics whose history was moved to a new keeper because instances came or went",
        topics,
    );
    all.counter("revenprox_history_moved_bytes_total", "Bytes of such moves", bytes);
    all.counter(
        "revenprox_history_moves_failed_total",
        "Such moves that the new keeper did not take in time",
        refused,
    );
    all.gauge(
        "revenprox_mesh_left_out",
        "Instances that have not been met, or have not handed history over, since this one started; it is ready without them after \
         discovery.ready_timeout_ms and history.ready_timeout_ms",
        r.left_out as f64,
    );
}

fn traffic(all: &mut Families, r: &mesh::Reading) {
    let batches = r.node.batches_sent + r.node.batches_resent;
    all.counter(
        "revenprox_sync_messages_sent_total",
        "Messages to other instances that carry no events: hellos, beats, acknowledgements, questions, answers",
        r.transport.sent.saturating_sub(batches),
    );
    all.counter(
        "revenprox_mesh_batches_sent_total",
        "Batches of events and changes sent to other instances",
        batches,
    );
    all.counter("revenprox_mesh_sent_bytes_total", "Bytes sent on links", r.transport.sent_bytes);
    all.counter(
        "revenprox_mesh_received_bytes_total",
        "Bytes received on the inbox",
        r.transport.received_bytes,
    );
}

fn events(all: &mut Families, r: &mesh::Reading, remote: &RemoteReading) {
    all.counter(
        "revenprox_mesh_events_forwarded_total",
        "Events queued for other instances",
        r.node.events_queued,
    );
    all.counter(
        "revenprox_mesh_events_taken_total",
        "Events of other instances that were delivered here",
        remote.taken,
    );
    all.counter(
        "revenprox_mesh_events_unwanted_total",
        "Events of other instances that nobody here wanted: the cost of filters that say maybe",
        remote.unwanted,
    );
    all.counter(
        "revenprox_mesh_events_refused_total",
        "Events of other instances whose ids were too far in the future",
        remote.refused,
    );
    all.counter(
        "revenprox_mesh_events_dropped_total",
        "Events that other instances did not get because they do not keep up",
        r.node.events_dropped,
    );
    let (once, again) = remote.reordered;
    all.counters(
        "revenprox_resumes_reordered_total",
        "Subscribers that came from an instance where events had another order, by how they got those around their last one: \
         exactly `once`, or, where the order could not be found out, some `again`",
        "kind",
        [("once", once), ("again", again)].into_iter(),
    );
}

fn faults(all: &mut Families, r: &mesh::Reading) {
    all.counters(
        "revenprox_mesh_lost_total",
        "What other instances sent and will not come, as events that they dropped or batches lost on the way",
        "kind",
        [("events", r.node.events_lost), ("batches", r.node.batches_lost)].into_iter(),
    );
    all.counter(
        "revenprox_mesh_repairs_total",
        "Batches that were fetched because they did not arrive",
        r.node.repairs,
    );
    all.counter(
        "revenprox_mesh_refused_total",
        "Messages that were refused: malformed, of another version, from strangers, or not opened by the key",
        r.node.refused + r.node.strangers + r.unopened,
    );
    all.counter(
        "revenprox_mesh_inbox_full_total",
        "Times that a received message waited because the mesh's task did not keep up",
        r.transport.inbox_full,
    );
    all.counter(
        "revenprox_mesh_requests_failed_total",
        "Questions to other instances that were not answered in time, or not sent because too many waited",
        r.transport.requests_failed + r.transport.requests_refused,
    );
    all.counter(
        "revenprox_mesh_requests_unanswered_total",
        "Questions of other instances that were not answered here in time",
        r.transport.requests_unanswered,
    );
}

fn state(all: &mut Families, r: &mesh::Reading) {
    all.gauge(
        "revenprox_mesh_batches_waiting",
        "Batches that wait because delivery here is behind",
        r.held as f64,
    );
    all.gauge(
        "revenprox_mesh_topics_announced",
        "Topics that others forward to this instance",
        r.topics as f64,
    );
    all.gauge("revenprox_facts", "Revocations that all instances hold", r.facts.0 as f64);
    all.counter("revenprox_facts_refused_total", "Revocations for which there was no room", r.facts.1);
    let found = &r.discovery;
    all.gauge("revenprox_discovery_addresses", "Addresses that discovery names", found.addresses as f64);
    all.counter(
        "revenprox_discovery_failures_total",
        "Times that a source of addresses failed and its last list stayed in force",
        found.failures,
    );
    all.counter(
        "revenprox_discovery_refused_total",
        "Addresses that were not taken because they were too many or none",
        found.refused,
    );
}

fn peers(all: &mut Families, peers: &[PeerView]) {
    type Read = fn(&PeerView) -> f64;
    let gauges: [(&str, &str, Read); 4] = [
        ("revenprox_peer_queue_events", "Events that wait for a peer", |peer| peer.queue as f64),
        ("revenprox_peer_held_bytes", "Memory held for a peer", |peer| peer.bytes as f64),
        ("revenprox_peer_lag_batches", "Batches of a peer that were sent and are not taken here", |peer| {
            peer.lag as f64
        }),
        ("revenprox_peer_filter_fill_ratio", "The share of bits set in a peer's interest filter", |peer| {
            peer.fill
        }),
    ];
    let counters: [(&str, &str, Read); 5] = [
        ("revenprox_peer_events_forwarded_total", "Events queued for a peer", |peer| peer.events.0 as f64),
        ("revenprox_peer_events_received_total", "Events received from a peer", |peer| peer.events.1 as f64),
        ("revenprox_peer_sent_bytes_total", "Bytes of messages sent to a peer", |peer| peer.traffic.0 as f64),
        ("revenprox_peer_received_bytes_total", "Bytes of messages received from a peer", |peer| {
            peer.traffic.1 as f64
        }),
        (
            "revenprox_peer_events_dropped_total",
            "Events that a peer did not get because it does not keep up, since its link began",
            |peer| peer.dropped as f64,
        ),
    ];
    let labels = |peer: &PeerView| vec![label("peer", &peer.name)];
    for (name, help, read) in gauges {
        let metrics = peers.iter().map(|peer| gauge(read(peer), labels(peer))).collect();
        all.push_some(name, help, MetricType::GAUGE, metrics);
    }
    for (name, help, read) in counters {
        let metrics = peers.iter().map(|peer| counter(read(peer), labels(peer))).collect();
        all.push_some(name, help, MetricType::COUNTER, metrics);
    }
}

/// What the hub has counted of others' events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteReading {
    /// Appended to logs here.
    pub taken: u64,
    /// Wanted by nobody here.
    pub unwanted: u64,
    /// Too far in the future.
    pub refused: u64,
    /// Subscribers that came from another instance where the order was another: those whose place was found exactly, and those
    /// who may have got events again.
    pub reordered: (u64, u64),
}
