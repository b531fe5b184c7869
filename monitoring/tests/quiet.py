"""Queries of panels that show nothing but zero in the live test, with the reason. All others must show more than that.

The key is the dashboard, the panel's title and the query's legend. Every query has to have an answer without exception.
"""

RIGHTLY_ZERO = {
    ("revenprox-mesh", "Addresses found", "not taken a second"): "no source names more addresses than are taken",
    ("revenprox-mesh", "Forwards that nobody wanted", "{{instance}}"): "filters made for a million topics are never wrong about a few dozen",
    ("revenprox-mesh", "Batches waiting for delivery", "inbox full a second"): "the mesh's task keeps up with three instances",
    ("revenprox-mesh", "Batches waiting for delivery", "{{instance}}"): "delivery keeps up unless the machine is very busy",
    ("revenprox-mesh", "Repaired and lost", "repaired"): "the loopback loses nothing",
    ("revenprox-mesh", "Refused messages", "{{instance}} events"): "all instances have the clock of one machine",
    ("revenprox-mesh", "Resumes from another order", "once"): "the load publishes one event after the other, so that hardly any two logs differ",
    ("revenprox-mesh", "Resumes from another order", "again"): "the load publishes one event after the other, so that hardly any two logs differ",
    ("revenprox-mesh", "Questions without an answer", "{{instance}} asked"): "a question fails after two seconds, and by then those who stand still may go on",
    ("revenprox-mesh", "Questions without an answer", "{{instance}} was asked"): "an instance that stands still is asked nothing it could count",
    ("revenprox-mesh", "History moved", "failed"): "new keepers on the same machine take it in time",
    ("revenprox-mesh", "Revocations held by all", "refused a second"): "there is room for far more revocations than one",
    ("revenprox-proxy", "Publishers held back", "waiting"): "they wait for moments, between scrapes as a rule",
    ("revenprox-proxy", "Publishers held back", "refused a second"): "a subscriber that is waited for is closed before a publisher is refused",
    ("revenprox-proxy", "Addresses forgotten", "{{instance}}"): "it takes more addresses than the test has",
    (
        "revenprox-proxy",
        "Changes of the configuration",
        "{{instance}} settings of tokens rejected",
    ): "the mistake that the load makes is found before tokens are looked at",
    ("revenprox-proxy", "Webhook, under way and held back", "under way"): "calls last for moments, between scrapes as a rule",
    ("revenprox-proxy", "Webhook, under way and held back", "not made a second"): "the ceiling is far above what the test asks for",
    ("revenprox-proxy", "Revocations", "refused"): "there is room for far more revocations than one",
    ("revenprox-proxy", "Traces", "deliveries not recorded"): "few traced events are under way at a time",
    ("revenprox-proxy", "Traces", "dropped"): "the collector keeps up",
    ("revenprox-proxy", "Traces", "not taken"): "the collector takes everything",
}
