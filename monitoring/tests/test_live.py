"""Asks a real Prometheus, which scrapes a real mesh under load, for every panel of the dashboards and every rule."""

import math
import re
import shlex
import subprocess
import time
import unittest

import collector
import mesh
import operators
from issuer import Issuer
from kubernetes import Kubernetes
from processes import ROOT, Processes
from prometheus import SELECTOR, Prometheus, panels, substituted
from quiet import RIGHTLY_ZERO
from scenario import Scenario
from test_rules import RUNBOOK

# What the scenario does is reason enough for these, and they wait for nothing.
FIRING = {"RevenProxConfigRejected", "RevenProxMemoryShort", "RevenProxMeshEventsDropped", "RevenProxMeshLoss", "RevenProxAutoscalerFlaps"}



class Live(unittest.TestCase):
    """One mesh and one Prometheus for all tests; the load runs once."""

    @classmethod
    def setUpClass(cls):
        processes = Processes()
        cls.addClassCleanup(processes.end)
        issuer = Issuer()
        cls.addClassCleanup(issuer.close)
        proxies = mesh.start(processes, issuer.port, collector.start(processes)[0])
        kubernetes = Kubernetes(proxies[0].http)
        cls.addClassCleanup(kubernetes.close)
        operator = operators.start(processes, kubernetes)
        cls.prometheus = Prometheus(processes, [proxy.http for proxy in proxies], [operator])
        scenario = Scenario(processes, proxies, issuer)
        cls.addClassCleanup(scenario.close)
        cls.start = time.time()
        scenario.run()
        cls.end = time.time()
        cls.failures = scenario.failures
        cls.admin = proxies[0].admin

    def test_load_is_as_it_should_be(self):
        """What the load expected of the proxies was so; otherwise the rest says little."""
        self.assertEqual(self.failures, [])

    def test_every_panel_shows_something(self):
        """Every query of every panel has an answer, and one that is more than zero unless it is listed."""
        unknown = set(RIGHTLY_ZERO)
        for uid, panel in panels():
            for target in panel["targets"]:
                key = (uid, panel["title"], target["legendFormat"])
                unknown.discard(key)
                with self.subTest(panel=key):
                    values = self._values(target["expr"])
                    self.assertTrue(values, "the answer is empty")
                    if key not in RIGHTLY_ZERO:
                        self.assertGreater(max(values), 0, "all it shows is zero")
        self.assertEqual(unknown, set(), "these are listed and are in no dashboard")

    def _values(self, expression):
        series = self.prometheus.over(substituted(expression), self.start, self.end)
        return [value for values in series for value in values if not math.isnan(value)]

    def test_every_rule_is_evaluated(self):
        """Prometheus has evaluated every rule without an error, and those fire that have to."""
        rules = self.prometheus.rules()
        self.assertGreater(len(rules), 30)
        for rule in rules:
            with self.subTest(alert=rule["name"]):
                self.assertEqual(rule["health"], "ok", rule.get("lastError"))
                for alert in rule["alerts"]:
                    self.assertNotIn("no value", str(alert["annotations"]), "a template names a label that the expression has not")
        firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
        self.assertLessEqual(FIRING, firing)

    def test_every_selector_of_a_rule_finds_series(self):
        """Each metric exists with the labels by which rules select it; a misspelt one would never fire."""
        for rule in self.prometheus.rules():
            for selector in set(SELECTOR.findall(rule["query"])):
                for one in _alternatives(selector):
                    with self.subTest(alert=rule["name"], selector=one):
                        self.assertTrue(self.prometheus.ask("query", query=f"last_over_time({one}[10m])")["result"])

    def test_every_expression_of_the_runbook_is_understood(self):
        """And its metrics exist."""
        blocks = re.findall(r"^```promql\n(.*?)^```", (ROOT / RUNBOOK).read_text(), re.M | re.S)
        lines = [line for block in blocks for line in block.splitlines()]
        self.assertGreater(len(lines), 40)
        for line in lines:
            with self.subTest(expression=line):
                self.prometheus.ask("query", query=line)
                for selector in SELECTOR.findall(line):
                    self.assertTrue(self.prometheus.ask("query", query=f"last_over_time({selector}[10m])")["result"])

    def test_every_question_of_the_runbook_to_an_instance_is_answered(self):
        """What it asks the admin listener by curl."""
        commands = set(re.findall(r"curl[^`\n]* \"?http://127\.0\.0\.1:9099[^`\n]*", (ROOT / RUNBOOK).read_text()))
        self.assertGreater(len(commands), 5)
        for command in commands:
            with self.subTest(command=command):
                arguments = shlex.split(command.replace("127.0.0.1:9099", f"127.0.0.1:{self.admin}"))
                done = subprocess.run([*arguments, "--fail-with-body", "--max-time", "5"], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_metric_of_a_proxy_is_documented_and_looked_at(self):
        """Dashboards leave out none but those that say the same as another."""
        shown = {name for _, panel in panels() for target in panel["targets"] for name in _names(target["expr"])}
        there = {re.sub("_(bucket|sum|count)$", "", name) for name in self.prometheus.names() if name.startswith("revenprox")}
        self.assertEqual(there - shown - SAID_TWICE, set())


# Metrics that no panel shows, since another one says the same.
SAID_TWICE = {
    "revenprox_cpu_usage_percent",
    "revenprox_fd_used",
    "revenprox_threads",
    "revenprox_peer_events_forwarded_total",
    "revenprox_peer_sent_bytes_total",
}


def _names(expression):
    """The metrics of an expression, histograms without their endings."""
    return {re.sub("_(bucket|sum|count)$", "", selector.split("{")[0]) for selector in SELECTOR.findall(expression)}


def _alternatives(selector):
    """A selector for each alternative of its regular expression. Results of reconciles come and go, so theirs stay together."""
    found = re.search(r'(\w+)=~"([\w|]+)"', selector)
    if not found or "operator" in selector:
        return [selector]
    return [selector.replace(found[0], f'{found[1]}="{one}"') for one in found[2].split("|")]


if __name__ == "__main__":
    unittest.main()
