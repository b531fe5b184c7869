#!/usr/bin/env python3
"""Takes the pictures of the dashboards for the guide: real proxies under load, a real Prometheus, and Grafana's published components.

`make dashboard-pictures` runs it. SSE_PROXY, OPERATOR and COLLECTOR are programs that have been built; without OPERATOR the picture of
the operator's dashboard is left as it is. It takes about five minutes.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

# pylint: disable=wrong-import-position
import collector
import mesh
import operators
from crowd import Crowd
from issuer import Issuer
from kubernetes import Kubernetes
from processes import MONITORING, ROOT, Processes
from prometheus import VARIABLES, Prometheus
from scenario import Scenario

IMAGES = ROOT / "documentation/images"
WIDTH = 1400
# Before and after the half minute in which everything goes wrong.
CALM_SEC = 90
# No load goes on for longer, whatever happens.
LIMIT_SEC = 600

# What is on which picture: a dashboard, and rows of it.
PICTURES = {
    "dashboard-proxy": ("revenprox-proxy", ["At a glance", "Traffic", "Latency"]),
    "dashboard-proxy-connections": ("revenprox-proxy", ["Connections", "History and replay"]),
    "dashboard-proxy-refusals": ("revenprox-proxy", ["Refusals and limits", "Tokens"]),
    "dashboard-proxy-resources": ("revenprox-proxy", ["Resources"]),
    "dashboard-mesh": ("revenprox-mesh", ["At a glance", "Peers", "Forwards"]),
    "dashboard-mesh-queues": ("revenprox-mesh", ["Queues and losses", "Keepers and fetches", "What instances know"]),
    "dashboard-operator": ("revenprox-operator", ["At a glance", "Reconciles", "Clusters and scaling"]),
}


def run_load(processes):
    """A calm time, everything that can go wrong, an instance that starts again, another calm time. Returns the server and the times."""
    issuer = Issuer()
    proxies = mesh.start(processes, issuer.port, collector.start(processes)[0])
    kubernetes = Kubernetes(proxies[0].http)
    watched = [operators.start(processes, kubernetes)] if "OPERATOR" in os.environ else []
    prometheus = Prometheus(processes, [proxy.http for proxy in proxies], watched, names=mesh.NAMES)
    scenario = Scenario(processes, proxies, issuer)
    start = time.time()
    crowd = Crowd(proxies, LIMIT_SEC)
    try:
        time.sleep(CALM_SEC)
        scenario.run()
        # The last thing that happens is that one has drained.
        mesh.run(processes, proxies[-1])
        mesh.meet(processes, proxies)
        time.sleep(CALM_SEC)
        if scenario.failures:
            raise AssertionError("\n".join(scenario.failures))
        return prometheus, start, time.time()
    finally:
        crowd.close()
        scenario.close()
        kubernetes.close()
        issuer.close()


def serve(folder):
    """Serves the page on the loopback; returns where."""

    class Quiet(SimpleHTTPRequestHandler):
        """Says nothing."""

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def view(dashboard, rows, prometheus, start, end):
    """What the page is to show. It ends between two labels of the time, which are on half minutes, so that none is cut off."""
    end -= (end - 20) % 30
    return {
        "dashboard": json.loads((MONITORING / f"dashboards/{dashboard}.json").read_text()),
        "rows": rows,
        "prometheus": prometheus.base,
        "from": int(start),
        "to": int(end),
        "step": 1,
        "variables": VARIABLES,
        "width": WIDTH,
    }


def main():
    """Builds the page first, so that a mistake in it is found before the load has run."""
    subprocess.run([HERE / "modules.sh"], check=True)
    with Processes() as processes:
        folder = processes.folder / "page"
        folder.mkdir()
        subprocess.run(["node", HERE / "build.mjs", folder], check=True)
        prometheus, start, end = run_load(processes)
        address = serve(folder)
        command = ["node", str(HERE / "shoot.mjs"), str(WIDTH)]
        for name, (dashboard, rows) in PICTURES.items():
            if dashboard == "revenprox-operator" and "OPERATOR" not in os.environ:
                print(f"{name}: left as it is, since OPERATOR names no program")
                continue
            (folder / f"view-{name}.json").write_text(json.dumps(view(dashboard, rows, prometheus, start, end)))
            command += [f"{address}/?view={name}", str(IMAGES / f"{name}.png")]
        browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or "chromium"
        subprocess.run(command, check=True, env=os.environ | {"CHROMIUM": browser})


if __name__ == "__main__":
    main()
