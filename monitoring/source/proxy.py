"""The dashboard of the proxies: what subscribers and publishers have of them."""

from panels import GREEN, RED, YELLOW, Dashboard, Panel, Row, quantile, rate, selector, stat, total

PHASES = {0: ("serving", GREEN), 1: ("draining", YELLOW), 2: ("closing", RED)}
BREAKER = {0: ("closed", GREEN), 1: ("open", RED), 2: ("half-open", YELLOW)}

OVERVIEW = Row(
    "At a glance",
    [
        stat("Instances", "Proxies that answer Prometheus.", f"count({selector('revenprox_build_info')})"),
        stat("Subscribers", "Subscribers that are connected, at all instances together.", total(selector("revenprox_connections_active"))),
        stat(
            "Events published",
            "Events accepted from publishers each second.",
            total(rate("revenprox_messages_published_total")),
            "ops",
            decimals=1,
        ),
        stat("Deliveries", "Events written to subscribers each second.", total(rate("revenprox_messages_sent_total")), "ops", decimals=1),
        stat(
            "Latency, 99 %",
            "From the acceptance of an event by an instance until it was written to its subscribers that keep up: 99 of 100 take no longer.",
            quantile(0.99, "revenprox_message_latency_seconds"),
            "s",
            [(GREEN, None), (YELLOW, 0.1), (RED, 0.5)],
        ),
        stat(
            "Refused",
            "Requests and connections turned away each second for a reason that passes.",
            total(rate("revenprox_connections_rejected_total")),
            "ops",
            [(GREEN, None), (YELLOW, 0.1), (RED, 10)],
            decimals=1,
        ),
    ],
)

TRAFFIC = Row(
    "Traffic",
    [
        Panel(
            "Events published by instance",
            "Events accepted from publishers each second.",
            [(rate("revenprox_messages_published_total"), "{{instance}}")],
            "ops",
            stacked=True,
        ),
        Panel(
            "Deliveries by instance",
            "Events written to subscribers each second: one event for a thousand subscribers is a thousand deliveries.",
            [(rate("revenprox_messages_sent_total"), "{{instance}}")],
            "ops",
            stacked=True,
        ),
        Panel(
            "Bytes sent to subscribers",
            "What is written to subscribers' streams each second, without TLS and TCP.",
            [(rate("revenprox_bytes_sent_total"), "{{instance}}")],
            "Bps",
            stacked=True,
        ),
        Panel(
            "Topics",
            "Topics that have subscribers, or events that are kept.",
            [(selector("revenprox_topics_active"), "{{instance}}")],
        ),
        Panel(
            "Publishers held back",
            "Publishers that wait until delivery of their topic has caught up, and publishes that were refused each second because it did not.",
            [
                (total(selector("revenprox_publishers_waiting")), "waiting"),
                (total(rate("revenprox_publish_congested_total")), "refused a second"),
            ],
        ),
        Panel(
            "Idempotency keys",
            "Keys that are remembered. Those forgotten early no longer protect from a repeated publish.",
            [
                (selector("revenprox_idempotency_keys"), "{{instance}}"),
                (total(rate("revenprox_idempotency_keys_forgotten_total")), "forgotten early a second"),
            ],
        ),
    ],
)

LATENCY = Row(
    "Latency",
    [
        Panel(
            "Latency of deliveries",
            "From the acceptance of an event by an instance until it had been written to all subscribers of a shard that keep up, counted for each.",
            [(quantile(q, "revenprox_message_latency_seconds"), f"{q:.0%}") for q in (0.5, 0.9, 0.99)],
            "s",
            width=12,
            steps=[(GREEN, None), (RED, 0.5)],
        ),
        Panel(
            "Distribution of latency",
            "The same as a distribution: how many deliveries took how long.",
            [(total(f"increase({selector('revenprox_message_latency_seconds_bucket')}[$__rate_interval])", "le"), "{{le}}")],
            "s",
            "heatmap",
            width=12,
            minimum=None,
        ),
    ],
)

CONNECTIONS = Row(
    "Connections",
    [
        Panel(
            "Subscribers",
            "Subscribers that are connected.",
            [(selector("revenprox_connections_active"), "{{instance}}")],
            stacked=True,
        ),
        Panel(
            "Connects",
            "Subscribers that connect each second. After a restart or a fault of the network this is the wave of those that come back.",
            [(rate("revenprox_connections_total"), "{{instance}}")],
            "ops",
        ),
        Panel(
            "Streams ended, by reason",
            "`hangup` is a client that left. `slow`, `overrun` and `memory` are subscribers that were closed for being too far behind.",
            [(total(rate("revenprox_connections_ended_total"), "reason"), "{{reason}}")],
            "ops",
        ),
        Panel(
            "How long subscribers stay",
            "Of those that left: half, and nine of ten, had been there for no longer. A median of seconds means that something cuts streams.",
            [(quantile(q, "revenprox_connection_duration_seconds"), f"{q:.0%}") for q in (0.5, 0.9)],
            "s",
        ),
        Panel(
            "Subscribers behind",
            "Subscribers that have something to get and whose socket is full.",
            [(selector("revenprox_subscribers_behind"), "{{instance}}")],
        ),
        Panel(
            "Events lost by slow subscribers",
            "Events that subscribers did not get each second because they were too far behind. Their streams say so with `revenprox-gap`.",
            [(rate("revenprox_messages_dropped_total"), "{{instance}}")],
            "ops",
        ),
    ],
)

HISTORY = Row(
    "History and replay",
    [
        Panel(
            "Memory of history",
            "What the logs of all topics hold. `history.max_total_mb` is the limit.",
            [(selector("revenprox_history_bytes"), "{{instance}}")],
            "bytes",
        ),
        Panel(
            "History given up early",
            "Bytes each second that all topics together held too much. Who comes back late finds a gap where they were.",
            [(rate("revenprox_history_evicted_bytes_total"), "{{instance}}")],
            "Bps",
        ),
        Panel(
            "Resumes that needed another instance",
            "Times each second that a topic's history was fetched from others for a subscriber that came back, and times that nobody answered in time.",
            [
                (total(rate("revenprox_history_fetches_total")), "fetched"),
                (total(rate("revenprox_history_fetches_failed_total")), "failed"),
            ],
            "ops",
        ),
    ],
)

LIMITS = Row(
    "Refusals and limits",
    [
        Panel(
            "Turned away, by reason",
            "Requests and connections turned away each second for a reason that passes.",
            [(total(rate("revenprox_connections_rejected_total"), "reason"), "{{reason}}")],
            "ops",
        ),
        Panel(
            "Ceilings reached",
            "1 while newcomers are turned away because the process uses too much memory, CPU time or network; `[limits]` says how much is too much.",
            [(f"max by (instance, reason) ({selector('revenprox_ceiling_reached')})", "{{instance}} {{reason}}")],
            maximum=1,
            steps=[(GREEN, None), (RED, 1)],
        ),
        Panel(
            "Phase",
            "0 is serving, 1 draining, 2 closing.",
            [(selector("revenprox_phase"), "{{instance}}")],
            maximum=2,
            mappings=PHASES,
        ),
        Panel(
            "Memory made free",
            "Times within ten minutes that history and caches were made smaller because memory was short.",
            [(f"increase({selector('revenprox_memory_shrinks_total')}[10m])", "{{instance}}")],
        ),
        Panel(
            "Changes of the configuration",
            "Times within ten minutes that the configuration was read again. What was rejected is in the log; the earlier one stays in effect.",
            [
                (
                    f"sum by (instance, outcome) (increase({selector('revenprox_config_reloads_total')}[10m]))",
                    "{{instance}} {{outcome}}",
                ),
                (f"increase({selector('revenprox_auth_reload_failures_total')}[10m])", "{{instance}} settings of tokens rejected"),
            ],
        ),
        Panel(
            "Addresses forgotten",
            "Client addresses whose count of attempts was forgotten early, each second: the limit for each address is then less strict.",
            [(rate("revenprox_addresses_forgotten_total"), "{{instance}}")],
            "ops",
        ),
    ],
)

AUTH = Row(
    "Tokens",
    [
        Panel(
            "Requests to authorise",
            "Requests that were to be authorised each second, and those that were not granted.",
            [
                (total(rate("revenprox_auth_requests_total")), "all"),
                (total(rate("revenprox_auth_failures_total")), "not granted"),
            ],
            "ops",
        ),
        Panel(
            "Not granted, by reason",
            "`webhook`, `jwks`, `breaker_open`, `ceiling` and `in_flight` are faults of the verification; the others are of the token.",
            [(total(rate("revenprox_auth_failures_total"), "reason") + " > 0", "{{reason}}")],
            "ops",
        ),
        Panel(
            "Circuit breaker",
            "0 is closed: the webhook is asked. 1 is open: only remembered verdicts hold. 2 is half-open: one call tries.",
            [(selector("revenprox_circuit_breaker_state"), "{{instance}}")],
            maximum=2,
            mappings=BREAKER,
        ),
        Panel(
            "Webhook, duration of calls",
            "Single calls to the webhook: 95 of 100 take no longer.",
            [(quantile(0.95, "revenprox_auth_webhook_duration_seconds", "outcome"), "{{outcome}}")],
            "s",
            steps=[(GREEN, None), (RED, 1)],
        ),
        Panel(
            "Webhook, remembered verdicts",
            "The share of questions that needed no call because the verdict was remembered.",
            [
                (
                    f"{total(rate('revenprox_auth_cache_hits_total'))} / ({total(rate('revenprox_auth_cache_hits_total'))}"
                    f" + {total(rate('revenprox_auth_cache_misses_total'))})",
                    "remembered",
                )
            ],
            "percentunit",
            maximum=1,
        ),
        Panel(
            "Webhook, under way and held back",
            "Verifications under way; requests that shared a call with another each second; calls not made because of `rate_limit_per_sec`.",
            [
                (total(selector("revenprox_auth_webhook_in_flight")), "under way"),
                (total(rate("revenprox_auth_single_flight_followers_total")), "shared a second"),
                (total(rate("revenprox_auth_ceiling_refusals_total")), "not made a second"),
            ],
        ),
        Panel(
            "Remembered verdicts",
            "How many verdicts of the webhook are in memory.",
            [(total(selector("revenprox_auth_cache_entries"), "verdict"), "{{verdict}}")],
        ),
        Panel(
            "JSON Web Key Sets",
            "Usable keys of all sets, and fetches within ten minutes.",
            [
                (f"max({selector('revenprox_auth_jwks_keys')})", "keys"),
                (total(f"increase({selector('revenprox_auth_jwks_refreshes_total')}[10m])"), "fetched"),
                (total(f"increase({selector('revenprox_auth_jwks_refresh_failures_total')}[10m])"), "failed"),
            ],
        ),
        Panel(
            "Revocations",
            "Revocations in force, and those within ten minutes for which there was no room.",
            [
                (f"max({selector('revenprox_revocations')})", "in force"),
                (total(f"increase({selector('revenprox_revocations_rejected_total')}[10m])"), "refused"),
            ],
        ),
    ],
)

RESOURCES = Row(
    "Resources",
    [
        Panel(
            "Memory",
            "Memory of the process that is in RAM.",
            [(selector("revenprox_memory_used_bytes"), "{{instance}}")],
            "bytes",
        ),
        Panel(
            "Memory for each subscriber",
            "All of the process's memory divided by its subscribers, so it falls as they get more.",
            [
                (
                    f"{selector('revenprox_memory_used_bytes')} / ({selector('revenprox_connections_active')} > 0)",
                    "{{instance}}",
                )
            ],
            "bytes",
        ),
        Panel(
            "CPU",
            "Processor cores in use.",
            [(rate("process_cpu_seconds_total"), "{{instance}}")],
        ),
        Panel(
            "File descriptors",
            "The share of the descriptors that may be open. Each subscriber takes one.",
            [(f"{selector('process_open_fds')} / {selector('process_max_fds')}", "{{instance}}")],
            "percentunit",
            maximum=1,
            steps=[(GREEN, None), (RED, 0.9)],
        ),
        Panel(
            "Other connections",
            "Connections that are not subscribers whose socket a shard owns: requests under way, idle connections, HTTP/2 and TLS.",
            [(selector("revenprox_http_connections_open"), "{{instance}}")],
        ),
        Panel(
            "Traces",
            "Spans each second that the collector has taken, has not taken, or that were dropped because too many waited.",
            [
                (total(rate("revenprox_trace_spans_exported_total")), "taken"),
                (total(rate("revenprox_trace_spans_failed_total")), "not taken"),
                (total(rate("revenprox_trace_spans_dropped_total")), "dropped"),
                (total(rate("revenprox_trace_events_forgotten_total")), "deliveries not recorded"),
            ],
            "ops",
        ),
        Panel(
            "Age of the process",
            "Time since the start of each instance; a fall is a restart.",
            [(f"time() - {selector('process_start_time_seconds')} and on (job, instance) {selector('revenprox_build_info')}", "{{instance}}")],
            "s",
            width=12,
        ),
        Panel(
            "Versions",
            "How many instances run which version.",
            [(f"count by (version) ({selector('revenprox_build_info')})", "{{version}}")],
            width=12,
            stacked=True,
        ),
    ],
)

DASHBOARD = Dashboard(
    "revenprox-proxy",
    "RevenProx / Proxy",
    "Traffic, latency, connections, history, refusals, tokens and resources of RevenProx proxies.",
    "revenprox_build_info",
    [OVERVIEW, TRAFFIC, LATENCY, CONNECTIONS, HISTORY, LIMITS, AUTH, RESOURCES],
)
