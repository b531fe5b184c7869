"""Dashboards: what is written is what the source says, Grafana's types take it, and people can read it."""

import json
import subprocess
import sys
import unittest

from processes import MONITORING, ROOT, Processes, program
from prometheus import panels

FILES = sorted((MONITORING / "dashboards").glob("*.json"))


class Dashboards(unittest.TestCase):
    """What can be said about dashboards without a server."""

    def test_they_are_what_the_source_says(self):
        """Whoever changes one runs `make dashboards`."""
        command = [sys.executable, "-B", str(MONITORING / "source/generate.py"), "--check"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_grafanas_types_take_them(self):
        """And do not take a panel with a misspelt option."""
        self.assertEqual(self._check(*FILES), "")
        with Processes() as processes:
            wrong = processes.folder / "wrong.json"
            wrong.write_text(FILES[0].read_text().replace('"graphMode"', '"graphMood"'))
            self.assertIn("graphMood", self._check(wrong))

    def _check(self, *files):
        done = subprocess.run([program("DASHBOARD_CHECK"), *map(str, files)], capture_output=True, text=True, check=False)
        return done.stderr

    def test_every_panel_explains_itself(self):
        """A title of its own within its row, a description, a unit, and limits of the axis that a share has."""
        for uid, panel in panels():
            with self.subTest(dashboard=uid, panel=panel["title"]):
                defaults = panel["fieldConfig"]["defaults"]
                self.assertRegex(panel["description"], r"^[A-Z0-9`].{20,}\.$")
                self.assertTrue(defaults["unit"])
                self.assertLessEqual(set(defaults), {"unit", "color", "thresholds", "mappings", "min", "max", "decimals", "custom"})
                for target in panel["targets"]:
                    self.assertEqual(target["datasource"]["uid"], "${datasource}")
                    self.assertIn("$instance", target["expr"], "it does not follow the selection above")

    def test_panels_do_not_cover_each_other(self):
        """And stay within the width."""
        for path in FILES:
            taken = {}
            for panel in json.loads(path.read_text())["panels"]:
                place = panel["gridPos"]
                self.assertLessEqual(place["x"] + place["w"], 24)
                for x in range(place["x"], place["x"] + place["w"]):
                    for y in range(place["y"], place["y"] + place["h"]):
                        self.assertNotIn((x, y), taken, f"{panel['title']} covers {taken.get((x, y))}")
                        taken[x, y] = panel["title"]

    def test_the_guide_names_every_row(self):
        """In the page about dashboards."""
        page = (ROOT / "documentation/operations/dashboards.md").read_text()
        for path in FILES:
            for panel in json.loads(path.read_text())["panels"]:
                if panel["type"] == "row":
                    self.assertIn(f"**{panel['title']}**", page)


if __name__ == "__main__":
    unittest.main()
