"""The chart brings rules and dashboards if it is asked to, whole and unchanged."""

import subprocess
import unittest

from processes import MONITORING, ROOT, Processes, program
from test_compose import read_yaml


def template(template_name, *values):
    """One object of the chart."""
    arguments = [argument for value in values for argument in ("--set", value)]
    command = [program("HELM"), "template", "rpx", str(ROOT / "charts/revenprox-operator"), "--kube-version", "1.34.0", *arguments]
    done = subprocess.run(command + ["--show-only", f"templates/{template_name}.yaml"], capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr
    with Processes() as processes:
        path = processes.folder / "object.yaml"
        path.write_text(done.stdout)
        return read_yaml(path)


class Chart(unittest.TestCase):
    """Both objects, on and off."""

    def test_the_rules_are_those_of_the_files(self):
        """With the labels by which the Prometheus operator finds them."""
        found = template("prometheusrule", "prometheusRule.enabled=true", "prometheusRule.labels.release=prometheus")
        groups = [group for path in sorted((MONITORING / "rules").glob("*.yaml")) for group in read_yaml(path)["groups"]]
        self.assertEqual(found["kind"], "PrometheusRule")
        self.assertEqual(found["metadata"]["labels"]["release"], "prometheus")
        by_name = {group["name"]: group for group in found["spec"]["groups"]}
        self.assertEqual(by_name, {group["name"]: group for group in groups})

    def test_alerts_link_to_where_the_runbook_is(self):
        """The files name a path of the repository, which nobody can follow from an alert."""
        page = "https://guide.example.com/operations/alerts.html"
        found = template("prometheusrule", "prometheusRule.enabled=true", f"prometheusRule.runbookUrl={page}")
        alerts = [rule for group in found["spec"]["groups"] for rule in group["rules"]]
        for rule in alerts:
            self.assertEqual(rule["annotations"]["runbook_url"], f"{page}#{rule['alert'].lower()}")

    def test_the_dashboards_are_those_of_the_files(self):
        """In one ConfigMap, which must stay below a mebibyte."""
        found = template("dashboards", "dashboards.enabled=true", "dashboards.annotations.folder=RevenProx")
        files = {path.name: path.read_text() for path in (MONITORING / "dashboards").iterdir()}
        self.assertEqual(found["data"], files)
        self.assertEqual(found["metadata"]["labels"]["grafana_dashboard"], "1")
        self.assertEqual(found["metadata"]["annotations"], {"folder": "RevenProx"})
        self.assertLess(sum(map(len, files.values())), 1 << 19)

    def test_neither_is_there_unasked(self):
        """By default the release has none of it."""
        for name in ("prometheusrule", "dashboards"):
            self.assertIn("could not find template", str(template(name)))

    def test_values_of_an_earlier_release_will_do(self):
        """`helm upgrade --reuse-values` brings no defaults that are new: then the values are not there at all."""
        found = template("service", "prometheusRule=null", "dashboards=null")
        self.assertEqual(found["kind"], "Service")

    def test_wrong_values_are_refused(self):
        """The schema knows them."""
        self.assertIn("enabled", str(template("dashboards", "dashboards.enabled=perhaps")))
        self.assertIn("nonsense", str(template("prometheusrule", "prometheusRule.nonsense=1")))
        self.assertIn("runbookUrl", str(template("prometheusrule", "prometheusRule.enabled=true", "prometheusRule.runbookUrl=guide")))


if __name__ == "__main__":
    unittest.main()
