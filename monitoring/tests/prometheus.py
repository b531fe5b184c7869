"""A real Prometheus, the questions that dashboards and rules put to it, and what it answers."""

import json
import re
import urllib.parse

from processes import MONITORING, answers, free_port, get, wait_for

# What Grafana puts in for its variables.
VARIABLES = {"$namespace": ".*", "$job": ".*", "$instance": ".*", "$__rate_interval": "5s", "${datasource}": "prometheus"}

CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s, scrape_timeout: 1s}}
rule_files: ["{rules}/*.yaml"]
scrape_configs:
  - {{job_name: revenprox, static_configs: {proxies}}}
  - {{job_name: revenprox-operator, static_configs: {operators}}}
"""

SELECTOR = re.compile(r"\b(?:(?:revenprox|process)_[a-z0-9_]+|up\b)(?:\{[^}]*\})?")


class Prometheus:
    """A server that scrapes proxies and an operator every second and evaluates all rules. Proxies have the names that are given, or else their addresses."""

    def __init__(self, processes, proxies, operators, names=()):
        def listed(ports, names=()):
            """Targets as JSON, which is YAML as well."""
            labels = [{"instance": name} for name in names] or [{}] * len(ports)
            return json.dumps([{"targets": [f"127.0.0.1:{port}"], "labels": own} for port, own in zip(ports, labels, strict=True)])

        config = processes.folder / "prometheus.yml"
        rules = MONITORING / "rules"
        config.write_text(CONFIG.format(rules=rules, proxies=listed(proxies, names), operators=listed(operators)))
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        options = [f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
        options.append(f"--storage.tsdb.path={processes.folder / 'tsdb'}")
        processes.start("prometheus", ["prometheus", *options])
        wait_for("Prometheus", answers(f"{self.base}/-/ready"))
        targets = len(proxies) + len(operators)
        wait_for("the first scrapes", lambda: self.ask("query", query=f"count(up == 1) == {targets}")["result"])

    def ask(self, path, **parameters):
        """The data that the API answers with; its error as an exception."""
        _, text = get(f"{self.base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=20)
        answer = json.loads(text)
        if answer["status"] != "success":
            raise ValueError(f"{answer['errorType']}: {answer['error']}")
        return answer["data"]

    def over(self, expression, start, end):
        """All values of all series of an expression within a time, second by second."""
        found = self.ask("query_range", query=expression, start=start, end=end, step=1)["result"]
        return [[float(value) for _, value in series["values"]] for series in found]

    def names(self):
        """All names of metrics that were scraped."""
        return set(self.ask("label/__name__/values"))

    def rules(self):
        """All alerts, with their expression, labels, annotations, health and state."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]


def substituted(expression):
    """An expression as Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def panels():
    """Every panel that has queries, with the identity of its dashboard."""
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield dashboard["uid"], panel
