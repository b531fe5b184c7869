"""The dashboard of the mesh: what instances have of each other."""

from panels import GREEN, RED, YELLOW, Dashboard, Panel, Row, rate, selector, stat, total

# Each hears all the others, so a whole mesh of n has n(n - 1) pairs.
WHOLE = f"count({selector('revenprox_build_info')})"
PAIRS = f"({WHOLE} * ({WHOLE} - 1))"

OVERVIEW = Row(
    "At a glance",
    [
        stat("Instances", "Proxies that answer Prometheus.", WHOLE),
        stat(
            "Pairs in touch",
            "The share of pairs of instances that hear each other. Select all instances of one cluster, and no other.",
            f"{total(selector('revenprox_peers_connected'))} / ({PAIRS} > 0)",
            "percentunit",
            [(RED, None), (GREEN, 1)],
        ),
        stat(
            "Longest silence",
            "Since the peer that has been silent for longest was heard, anywhere. It is below the heartbeat interval in health.",
            f"max({selector('revenprox_sync_lag_seconds')})",
            "s",
            [(GREEN, None), (YELLOW, 2), (RED, 3)],
        ),
        stat(
            "Events waiting",
            "Events that wait for peers, at all instances together.",
            total(selector("revenprox_peer_queue_events")),
            steps=[(GREEN, None), (YELLOW, 1000), (RED, 10000)],
        ),
        stat(
            "Lost",
            "Events and batches within ten minutes that were lost between instances for good.",
            total(f"increase({selector('revenprox_mesh_lost_total')}[10m])"),
            steps=[(GREEN, None), (RED, 1)],
            decimals=0,
        ),
        stat(
            "Dropped",
            "Events within ten minutes that were dropped because an instance did not keep up.",
            total(f"increase({selector('revenprox_mesh_events_dropped_total')}[10m])"),
            steps=[(GREEN, None), (RED, 1)],
            decimals=0,
        ),
    ],
)

PEERS = Row(
    "Peers",
    [
        Panel(
            "Peers in touch",
            "Other instances that each one hears and is heard by.",
            [(selector("revenprox_peers_connected"), "{{instance}}")],
        ),
        Panel(
            "Longest silence",
            "Since the peer that has been silent for longest was heard. `nng.heartbeat_interval_sec` is usual; at `peer_timeout_sec` it is taken for gone.",
            [(selector("revenprox_sync_lag_seconds"), "{{instance}}")],
            "s",
        ),
        Panel(
            "Addresses found",
            "Addresses of instances that the configuration, DNS or Kubernetes names, and lookups that failed each second.",
            [
                (selector("revenprox_discovery_addresses"), "{{instance}}"),
                (total(rate("revenprox_discovery_failures_total")), "failed a second"),
                (total(rate("revenprox_discovery_refused_total")), "not taken a second"),
            ],
        ),
    ],
)

FORWARDS = Row(
    "Forwards",
    [
        Panel(
            "Events forwarded",
            "Events that each instance queues for others each second. One for two others counts twice.",
            [(rate("revenprox_mesh_events_forwarded_total"), "{{instance}}")],
            "ops",
            stacked=True,
        ),
        Panel(
            "Events taken",
            "Events of other instances that were delivered at each instance each second.",
            [(rate("revenprox_mesh_events_taken_total"), "{{instance}}")],
            "ops",
            stacked=True,
        ),
        Panel(
            "Forwards that nobody wanted",
            "The share of events from others that found no subscriber: the cost of filters that say maybe. More than a few per cent for long is too much.",
            [
                (
                    f"{rate('revenprox_mesh_events_unwanted_total')} / ({rate('revenprox_mesh_events_taken_total')} > 0)",
                    "{{instance}}",
                )
            ],
            "percentunit",
            steps=[(GREEN, None), (RED, 0.1)],
        ),
        Panel(
            "Events in a batch",
            "Events forwarded for each batch sent. One is a quiet mesh; under load it grows, and the cost of each event falls.",
            [
                (
                    f"{rate('revenprox_mesh_events_forwarded_total')} / ({rate('revenprox_mesh_batches_sent_total')} > 0)",
                    "{{instance}}",
                )
            ],
        ),
        Panel(
            "Bytes between instances",
            "What is sent on links and received each second.",
            [
                (total(rate("revenprox_mesh_sent_bytes_total")), "sent"),
                (total(rate("revenprox_mesh_received_bytes_total")), "received"),
            ],
            "Bps",
        ),
        Panel(
            "Messages without events",
            "Hellos, beats, acknowledgements, questions and answers each second.",
            [(rate("revenprox_sync_messages_sent_total"), "{{instance}}")],
            "ops",
        ),
        Panel(
            "Events received, by peer",
            "Who sends how many events to the selected instances each second.",
            [(total(rate("revenprox_peer_events_received_total"), "peer"), "{{peer}}")],
            "ops",
            width=12,
        ),
        Panel(
            "Bytes received, by peer",
            "Bytes of messages from each peer each second.",
            [(total(rate("revenprox_peer_received_bytes_total"), "peer"), "{{peer}}")],
            "Bps",
            width=12,
        ),
    ],
)

QUEUES = Row(
    "Queues and losses",
    [
        Panel(
            "Events waiting, by peer",
            "Events that wait for each peer. One that grows alone is a peer that does not keep up, or its network.",
            [(f"max by (peer) ({selector('revenprox_peer_queue_events')})", "{{peer}}")],
            steps=[(GREEN, None), (RED, 10000)],
        ),
        Panel(
            "Memory held, by peer",
            "Memory held for each peer until it has acknowledged.",
            [(f"max by (peer) ({selector('revenprox_peer_held_bytes')})", "{{peer}}")],
            "bytes",
        ),
        Panel(
            "Lag, by peer",
            "Batches of each peer that were sent and are not taken yet by one of the selected instances.",
            [(f"max by (peer) ({selector('revenprox_peer_lag_batches')})", "{{peer}}")],
        ),
        Panel(
            "Batches waiting for delivery",
            "Batches that wait because delivery at an instance is behind, and times each second that a message waited for the mesh's own task.",
            [
                (selector("revenprox_mesh_batches_waiting"), "{{instance}}"),
                (total(rate("revenprox_mesh_inbox_full_total")), "inbox full a second"),
            ],
        ),
        Panel(
            "Dropped, by peer",
            "Events each second that a peer did not get because it does not keep up.",
            [(total(rate("revenprox_peer_events_dropped_total"), "peer"), "{{peer}}")],
            "ops",
        ),
        Panel(
            "Repaired and lost",
            "Batches each second that did not arrive and were fetched; and what other instances sent and will not come.",
            [
                (total(rate("revenprox_mesh_repairs_total")), "repaired"),
                (total(rate("revenprox_mesh_lost_total"), "kind"), "lost {{kind}}"),
            ],
            "ops",
        ),
        Panel(
            "Refused messages",
            "Messages each second that were malformed, of another version, from strangers, or not opened by the key; and events whose ids are too far in the future.",
            [
                (rate("revenprox_mesh_refused_total"), "{{instance}} messages"),
                (rate("revenprox_mesh_events_refused_total"), "{{instance}} events"),
            ],
            "ops",
            width=12,
        ),
        Panel(
            "Questions without an answer",
            "Questions to other instances that were not answered in time each second, and those of others that were not answered here.",
            [
                (rate("revenprox_mesh_requests_failed_total"), "{{instance}} asked"),
                (rate("revenprox_mesh_requests_unanswered_total"), "{{instance}} was asked"),
            ],
            "ops",
            width=12,
        ),
    ],
)

KEEPERS = Row(
    "Keepers and fetches",
    [
        Panel(
            "History fetched",
            "Times each second that a topic's history was fetched from others for a subscriber that came back.",
            [(rate("revenprox_history_fetches_total"), "{{instance}}")],
            "ops",
        ),
        Panel(
            "Fetches without an answer",
            "Such times in which nobody answered within `history.resume_wait_ms`: the subscriber was told of a gap.",
            [(rate("revenprox_history_fetches_failed_total"), "{{instance}}")],
            "ops",
        ),
        Panel(
            "Ready without",
            "Instances that each one has not met, or that have not handed their history over, since it started. It waits for them before it is ready, but not forever.",
            [(selector("revenprox_mesh_left_out"), "{{instance}}")],
            "short",
        ),
        Panel(
            "Resumes from another order",
            "Subscribers each second that came from an instance where events had another order, and got those around their last one exactly once, or some of them again.",
            [
                (total(rate("revenprox_resumes_reordered_total", 'kind="once"')), "once"),
                (total(rate("revenprox_resumes_reordered_total", 'kind="again"')), "again"),
            ],
            "ops",
        ),
        Panel(
            "History moved",
            "Topics each second whose history was moved to a new keeper because instances came or went, and moves that failed.",
            [
                (total(rate("revenprox_history_moved_topics_total")), "moved"),
                (total(rate("revenprox_history_moves_failed_total")), "failed"),
            ],
            "ops",
        ),
        Panel(
            "Bytes of history moved",
            "Bytes each second of such moves.",
            [(rate("revenprox_history_moved_bytes_total"), "{{instance}}")],
            "Bps",
        ),
    ],
)

STATE = Row(
    "What instances know",
    [
        Panel(
            "Topics announced",
            "Topics that others forward to each instance.",
            [(selector("revenprox_mesh_topics_announced"), "{{instance}}")],
        ),
        Panel(
            "How full filters are",
            "The share of bits set in each peer's interest filter. Near one half is what filters are made for; far above, forwards are wasted.",
            [(f"max by (peer) ({selector('revenprox_peer_filter_fill_ratio')})", "{{peer}}")],
            "percentunit",
            maximum=1,
            steps=[(GREEN, None), (RED, 0.6)],
        ),
        Panel(
            "Revocations held by all",
            "Revocations that all instances hold. Lines that differ for long are instances that do not hear each other.",
            [
                (selector("revenprox_facts"), "{{instance}}"),
                (total(rate("revenprox_facts_refused_total")), "refused a second"),
            ],
        ),
    ],
)

DASHBOARD = Dashboard(
    "revenprox-mesh",
    "RevenProx / Mesh",
    "Peers, forwards, queues, losses, keepers and state of the mesh between RevenProx proxies.",
    "revenprox_build_info",
    [OVERVIEW, PEERS, FORWARDS, QUEUES, KEEPERS, STATE],
)
