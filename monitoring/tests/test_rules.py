"""Rules: each has its unit tests, its labels, and its section in the runbook."""

import re
import subprocess
import unittest

from processes import MONITORING, ROOT
from test_compose import read_yaml

RUNBOOK = "documentation/operations/alerts.md"
FILES = sorted((MONITORING / "rules").glob("*.yaml"))


def rules(path):
    """The alerts of a file."""
    return [rule for group in read_yaml(path)["groups"] for rule in group["rules"]]


class Rules(unittest.TestCase):
    """What can be said about rules without a server."""

    def test_unit_tests_pass(self):
        """By promtool, which also looks for mistakes in the rules themselves."""
        tests = sorted((MONITORING / "tests/rules").glob("*.yaml"))
        self.assertEqual([path.name for path in tests], [path.name for path in FILES])
        for command in (["check", "rules", "--lint=all", "--lint-fatal", *FILES], ["test", "rules", *tests]):
            done = subprocess.run(["promtool", *map(str, command)], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_alert_fires_in_a_test_and_is_quiet_in_another(self):
        """A rule that was never seen to fire may never do."""
        for path in FILES:
            tests = read_yaml(MONITORING / "tests/rules" / path.name)["tests"]
            cases = [case for test in tests for case in test["alert_rule_test"]]
            for rule in rules(path):
                with self.subTest(alert=rule["alert"]):
                    outcomes = [bool(case["exp_alerts"]) for case in cases if case["alertname"] == rule["alert"]]
                    self.assertEqual(sorted(set(outcomes)), [False, True])

    def test_each_alert_says_what_is_needed(self):
        """How bad it is, what it is, and where its section is."""
        for path in FILES:
            for rule in rules(path):
                with self.subTest(alert=rule["alert"]):
                    self.assertIn(rule["labels"]["severity"], ("critical", "warning"))
                    self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"})
                    self.assertEqual(rule["annotations"]["runbook_url"], f"{RUNBOOK}#{rule['alert'].lower()}")

    def test_the_runbook_has_a_section_for_each_alert_and_no_other(self):
        """With the three things that somebody at night needs, and the severity that the rule has."""
        sections = re.split(r"^### ", (ROOT / RUNBOOK).read_text(), flags=re.M)[1:]
        found = {section.split("\n")[0].strip(): section for section in sections}
        alerts = {rule["alert"]: rule for path in FILES for rule in rules(path)}
        self.assertEqual(set(found), set(alerts))
        self.assertEqual(len(found), len(sections), "a section is there twice")
        for name, section in found.items():
            with self.subTest(alert=name):
                for part in ("**What it means.**", "**How to look.**", "**What to do.**"):
                    self.assertIn(part, section)
                self.assertIn(f"*{alerts[name]['labels']['severity']}*", section)

    def test_the_chart_has_the_same_files(self):
        """Its copies are made by `make dashboards`."""
        chart = ROOT / "charts/revenprox-operator/files"
        for kind in ("rules", "dashboards"):
            ours = {path.name: path.read_text() for path in (MONITORING / kind).iterdir()}
            copies = {path.name: path.read_text() for path in (chart / kind).iterdir()}
            self.assertEqual(ours, copies, "run `make dashboards`")


if __name__ == "__main__":
    unittest.main()
