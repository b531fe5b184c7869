"""The dashboard of the operator."""

from panels import GREEN, RED, YELLOW, Dashboard, Panel, Row, quantile, rate, selector, stat, total

OVERVIEW = Row(
    "At a glance",
    [
        stat(
            "Leading",
            "Operators that hold the lease: exactly one does.",
            total(selector("revenprox_operator_leader")),
            steps=[(RED, None), (GREEN, 1), (RED, 2)],
            width=6,
        ),
        stat("Clusters", "Clusters that the acting operator knows.", f"max({selector('revenprox_operator_clusters')})", width=6),
        stat(
            "Looks at clusters",
            "Reconciles each second.",
            total(rate("revenprox_operator_reconciles_total")),
            "ops",
            width=6,
            decimals=2,
        ),
        stat(
            "Looks that failed",
            "The share of reconciles that ended with an error or too late.",
            f"({total(rate('revenprox_operator_reconciles_total', 'result=~' + chr(34) + 'failed|late' + chr(34)))} or vector(0))"
            f" / {total(rate('revenprox_operator_reconciles_total'))}",
            "percentunit",
            [(GREEN, None), (YELLOW, 0.01), (RED, 0.1)],
            width=6,
        ),
    ],
)

RECONCILES = Row(
    "Reconciles",
    [
        Panel(
            "Reconciles, by result",
            "`hindered` clusters are Degraded: somebody has to do something. `failed` and `late` looks are tried again.",
            [(total(rate("revenprox_operator_reconciles_total"), "result"), "{{result}}")],
            "ops",
            width=12,
        ),
        Panel(
            "Duration of reconciles",
            "Half, and 99 of 100, looks at a cluster take no longer.",
            [(quantile(q, "revenprox_operator_reconcile_seconds"), f"{q:.0%}") for q in (0.5, 0.99)],
            "s",
            width=12,
            steps=[(GREEN, None), (RED, 5)],
        ),
        Panel(
            "Looks that failed, by reason",
            "What went wrong: an object could not be applied, a file not be read, the API server not be asked, or it took too long.",
            [(total(rate("revenprox_operator_failures_total"), "reason"), "{{reason}}")],
            "ops",
            width=12,
        ),
        Panel(
            "Looks asked for ahead, by why",
            "`progress`: a cluster is on its way. `rest`: to be sure. `failure`: tried again, later each time.",
            [(total(rate("revenprox_operator_requeues_total"), "why"), "{{why}}")],
            "ops",
            width=12,
        ),
        Panel(
            "Objects applied, by kind",
            "Objects of clusters that were written each second. At rest nothing is written.",
            [(total(rate("revenprox_operator_applied_total"), "kind"), "{{kind}}")],
            "ops",
            width=12,
        ),
        Panel(
            "Other writes",
            "Writes other than objects of clusters each second: status, scale, repair, nudge, secret, remove, event.",
            [(total(rate("revenprox_operator_writes_total"), "what"), "{{what}}")],
            "ops",
            width=12,
        ),
    ],
)

CLUSTERS = Row(
    "Clusters and scaling",
    [
        Panel(
            "Clusters",
            "Clusters that each operator knows; one that waits for the lease knows none.",
            [(selector("revenprox_operator_clusters"), "{{instance}}")],
        ),
        Panel(
            "Changes of size",
            "Times within an hour that the operator set the number of proxies of a cluster.",
            [(total(f"increase({selector('revenprox_operator_writes_total', 'what=' + chr(34) + 'scale' + chr(34))}[1h])"), "changes")],
        ),
        Panel(
            "Leader",
            "1 at the operator that acts.",
            [(selector("revenprox_operator_leader"), "{{instance}}")],
            maximum=1,
        ),
        Panel(
            "Memory",
            "Memory of each operator that is in RAM.",
            [
                (
                    f"{selector('process_resident_memory_bytes')} and on (job, instance) {selector('revenprox_operator_build_info')}",
                    "{{instance}}",
                )
            ],
            "bytes",
            width=12,
        ),
        Panel(
            "Versions",
            "How many operators run which version.",
            [(f"count by (version) ({selector('revenprox_operator_build_info')})", "{{version}}")],
            width=12,
            stacked=True,
        ),
    ],
)

DASHBOARD = Dashboard(
    "revenprox-operator",
    "RevenProx / Operator",
    "Reconciles, writes, leadership and clusters of the RevenProx operator.",
    "revenprox_operator_build_info",
    [OVERVIEW, RECONCILES, CLUSTERS],
)
