"""Checks docker-compose.yml and what it mounts, as far as that can be done without Docker.

The file is read by the library of Docker Compose. Proxies, collector, publisher and health checks then run as they stand in it, on the loopback:
only addresses are others, and busybox is Debian's.
"""

import json
import os
import re
import subprocess
import time
import unittest
from pathlib import Path

import collector
from processes import ROOT, Processes, free_port, program, wait_for

COMPOSE = ROOT / "docker-compose.yml"
FOLDER = ROOT / "deploy/compose"
PROXIES = ("proxy-1", "proxy-2", "proxy-3")

# Services that do one thing and end: nobody asks them how they are.
ENDS = {"mesh-key"}


def run(*command, **environment):
    """Runs a program to its end; returns its exit code and what it said."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def read_yaml(path):
    """A YAML file as a value."""
    code, said = run(program("COMPOSE_CHECK"), "-yaml", str(path))
    if code:
        raise AssertionError(said)
    return json.loads(said)


class Files(unittest.TestCase):
    """What can be said without starting anything."""

    @classmethod
    def setUpClass(cls):
        code, said = run(program("COMPOSE_CHECK"), str(COMPOSE))
        if code:
            raise AssertionError(f"docker-compose.yml: {said}")
        cls.services = json.loads(said)["services"]

    def test_the_check_finds_mistakes(self):
        """A misspelt key is refused, so that the acceptance of the file says something."""
        with Processes() as processes:
            wrong = processes.folder / "compose.yml"
            wrong.write_text(COMPOSE.read_text().replace("    healthcheck:\n      test: [CMD, sh", "    healthchek:\n      test: [CMD, sh"))
            code, said = run(program("COMPOSE_CHECK"), str(wrong))
            self.assertNotEqual(code, 0)
            self.assertIn("healthchek", said)

    def test_every_service_has_a_health_check(self):
        """One that ends by itself has none."""
        for name, service in self.services.items():
            with self.subTest(service=name):
                self.assertEqual("healthcheck" in service, name not in ENDS)
                # A form with a shell needs one in the image.
                self.assertEqual(service.get("healthcheck", {"test": ["CMD"]})["test"][0], "CMD")

    def test_ports_are_open_on_this_machine_only(self):
        """Nobody is asked for a token."""
        ports = [port for service in self.services.values() for port in service.get("ports", [])]
        self.assertEqual({port["host_ip"] for port in ports}, {"127.0.0.1"})
        self.assertEqual(len({port["published"] for port in ports}), len(ports))

    def test_what_is_mounted_exists(self):
        """Docker would make an empty folder of a file that is missing."""
        mounts = [mount for service in self.services.values() for mount in service.get("volumes", []) if mount["type"] == "bind"]
        self.assertGreater(len(mounts), 8)
        for mount in mounts:
            with self.subTest(source=mount["source"]):
                self.assertTrue(os.path.exists(mount["source"]))
                self.assertTrue(mount["read_only"])

    def test_stages_that_are_built_are_in_the_dockerfile(self):
        """And run as the user that the other files count on."""
        text = (ROOT / "Dockerfile").read_text()
        for name in PROXIES:
            target = self.services[name]["build"]["target"]
            stage = re.search(rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM |\Z)", text, re.M | re.S)
            self.assertIn("USER 65532:65532", stage[1])
            self.assertIn(self.services[name]["healthcheck"]["test"][1], stage[1])

    def test_prometheus_takes_its_configuration(self):
        """With the rules where they are mounted, and services as targets."""
        text = (FOLDER / "prometheus.yml").read_text()
        rules = [mount for mount in self.services["prometheus"]["volumes"] if mount["target"].startswith("/etc/prometheus/rules/")]
        with Processes() as processes:
            for mount in rules:
                (processes.folder / os.path.basename(mount["target"])).symlink_to(mount["source"])
            config = processes.folder / "prometheus.yml"
            config.write_text(text.replace("/etc/prometheus/rules", str(processes.folder)))
            code, said = run("promtool", "check", "config", str(config))
            self.assertEqual(code, 0, said)
            self.assertRegex(said, "[1-9][0-9]* rules found")
        for scrape in read_yaml(FOLDER / "prometheus.yml")["scrape_configs"]:
            for target in scrape["static_configs"][0]["targets"]:
                self.assertIn(target.split(":")[0], self.services)

    def test_grafana_finds_what_is_provisioned(self):
        """The data source is a service; the dashboards are mounted where they are looked for."""
        source = read_yaml(FOLDER / "grafana/datasources/prometheus.yaml")["datasources"][0]
        self.assertEqual(source["url"], "http://prometheus:9090")
        provider = read_yaml(FOLDER / "grafana/dashboards/revenprox.yaml")["providers"][0]
        grafana = self.services["grafana"]
        mounted = {mount["target"]: mount["source"] for mount in grafana["volumes"] if mount["target"].startswith(provider["options"]["path"])}
        uids = {json.loads(Path(path).read_text())["uid"] for path in mounted.values()}
        self.assertEqual(uids, {"revenprox-proxy", "revenprox-mesh"})
        self.assertIn(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], mounted)

    def test_the_collector_takes_its_configuration(self):
        """The real one, made of the parts that the file names."""
        code, said = run(program("COLLECTOR"), "validate", "--config", str(FOLDER / "collector.yaml"))
        self.assertEqual(code, 0, said)


class Running(unittest.TestCase):
    """The parts that can run, with the files, commands and health checks of the Compose file."""

    @classmethod
    def setUpClass(cls):
        cls.processes = Processes()
        cls.addClassCleanup(cls.processes.end)
        cls.services = json.loads(run(program("COMPOSE_CHECK"), str(COMPOSE))[1])["services"]
        cls.ports = {name: free_port() for name in PROXIES}
        cls.ports["otlp"], cls.ports["health"] = collector.start(cls.processes)
        cls._start_proxies()
        cls.environment = {"PROXIES": " ".join(f"127.0.0.1:{cls.ports[name]}" for name in PROXIES), "TMPDIR": str(cls.processes.folder)}

    @classmethod
    def _start_proxies(cls):
        key = cls.processes.folder / "mesh"
        # Twice: the second time, the key is left as it is.
        keys = [run("busybox", "sh", str(FOLDER / "make-key.sh"), str(key)) and key.read_text() for _ in range(2)]
        assert re.fullmatch("[0-9a-f]{64}", keys[0]) and keys[0] == keys[1] and key.stat().st_mode & 0o777 == 0o600, keys
        meshes = [free_port(following=1) for _ in PROXIES]
        for name, mesh in zip(PROXIES, meshes):
            # What another address needs, and nothing else.
            different = {
                "REVENPROX_HTTP__BIND_ADDRESS": f"127.0.0.1:{cls.ports[name]}",
                "REVENPROX_NNG__LISTEN_ADDRESSES": f"tcp://127.0.0.1:{mesh}",
                "REVENPROX_NNG__PEER_ADDRESSES": ",".join(f"tcp://127.0.0.1:{port}" for port in meshes),
                "REVENPROX_NNG__KEY_FILE": str(key),
                "REVENPROX_DISCOVERY__DNS_NAME": "",
                "REVENPROX_TELEMETRY__OTLP_ENDPOINT": f"http://127.0.0.1:{cls.ports['otlp']}",
                "REVENPROX_TELEMETRY__OTLP_SAMPLE_RATIO": "1.0",
            }
            environment = os.environ | cls.services[name]["environment"] | different
            cls.processes.start(name, [program("SSE_PROXY"), "--config", str(FOLDER / "proxy.toml")], environment)

    def _health(self, service, replacements):
        """The exit code of a service's health check, with other addresses."""
        command = self.services[service]["healthcheck"]["test"][1:]
        for old, new in replacements.items():
            command = [part.replace(old, new) for part in command]
        if command[0] in ("sh", "wget"):
            command = ["busybox", *command]
        return run(*command, **self.environment)[0]

    def test_the_configuration_is_right(self):
        """As the proxy itself sees it."""
        code, said = run(program("SSE_PROXY"), "check", "--skip-files", str(FOLDER / "proxy.toml"))
        self.assertEqual((code, said.strip()), (0, "ok"))

    def test_proxies_are_healthy_and_say_when_they_are_not(self):
        """The check is the image's own program."""
        for name in PROXIES:
            with self.subTest(proxy=name):
                here = {"/usr/local/bin/sse-proxy": program("SSE_PROXY"), "127.0.0.1:8080": f"127.0.0.1:{self.ports[name]}"}
                wait_for("the proxy to be healthy", lambda here=here, name=name: self._health(name, here) == 0)
                nobody = here | {"127.0.0.1:8080": f"127.0.0.1:{free_port()}"}
                self.assertEqual(self._health(name, nobody), 1)

    def test_the_publisher_publishes_and_the_collector_gets_traces(self):
        """At all proxies in turn; subscribers of one get what is published at each."""
        self.assertNotEqual(self._health("publisher", {"/publisher.sh": str(FOLDER / "publisher.sh")}), 0)
        url = f"http://127.0.0.1:{self.ports['proxy-1']}"
        wait_for("the first proxy", lambda: run(program("SSE_PROXY"), "publish", url, "demo", "first")[0] == 0)
        subscriber = self.processes.start("subscriber", [program("SSE_PROXY"), "subscribe", url, "demo", "--count", "6", "--timeout", "40"])
        time.sleep(1)
        self.processes.start("publisher", ["busybox", "sh", str(FOLDER / "publisher.sh")], os.environ | self.environment)
        self.assertEqual(subscriber.wait(timeout=50), 0, self.processes.log("subscriber"))
        for name in PROXIES:
            self.assertIn(f"at 127.0.0.1:{self.ports[name]}", self.processes.log("subscriber"))
        self.assertEqual(self._health("publisher", {"/publisher.sh": str(FOLDER / "publisher.sh")}), 0)
        self.assertEqual(self._health("collector", {"127.0.0.1:13133": f"127.0.0.1:{self.ports['health']}"}), 0)
        wait_for("traces", lambda: re.search(r"spans\W+\d", self.processes.log("collector")))


if __name__ == "__main__":
    unittest.main()
