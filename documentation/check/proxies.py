#!/usr/bin/env python3
"""Starts nginx, HAProxy and Envoy with the guide's configurations in front of three instances, and looks through each.

Ports are replaced by free ones, and the timeouts of 75 seconds and the keepalives of 30 by shorter ones in the same
proportion, so that a quiet stream outlives several of them within seconds. That the checks see what they are for is shown
by configurations that are wrong: one that holds events back, and streams that say nothing for longer than the timeout.
"""

import http.client
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pages
import ports
from running import STRANGER, Program, Proxy, Stream, request, wait_until

EXAMPLES = pages.GUIDE / "examples" / "proxies"
QUIET = 2.5  # seconds; stands for the 75 of the configurations
KEEPALIVE = 1  # stands for 30
AT_ONCE = 0.5
NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


class Middle(Program):
    """A program in front of the instances, run as nobody if we are root."""

    def __init__(self, folder: Path, config: str, text: str, command: list[str], instances: list[int]):
        self.plain, self.tls = ports.free(2), 0
        self.tls = self.plain + 1
        for port, new in [("8000", self.plain), ("8443", self.tls), *zip(("8081", "8082", "8083"), instances)]:
            text = re.sub(rf"\b{port}\b", str(new), text)
        # A number of connections that needs no more descriptors than a test may have.
        text = text.replace("20000", "2000")
        text = text.replace("75s", f"{int(QUIET * 1000)}ms" if config != "envoy.yaml" else f"{QUIET}s")
        text = re.sub(r"\btls\.(crt|key|pem)\b", lambda found: str(folder / found.group()), text)
        (folder / config).write_text(text, encoding="utf-8")
        arguments = [part.replace("{folder}", str(folder)) for part in command]
        if os.geteuid() == 0:
            arguments = [*AS_NOBODY, *arguments]
        super().__init__(arguments, folder / f"{config}-{self.plain}.log", folder=folder)
        wait_until(self._answers, f"{command[0]} answers; it says {self.text()}")

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"it ended:\n{self.text()}")
        try:
            return request(self.plain, "OPTIONS", "/events/anything")[0] < 500
        except OSError:
            return False


def arrives_at_once(middle: Middle, proxy: Proxy) -> None:
    """Ten events, published one by one, each have to be there before the next."""
    with Stream(middle.plain, "/events/prices", timeout=10) as stream:
        assert stream.status == 200, f"a subscribe is answered with {stream.status}"
        for number in range(10):
            begin = time.monotonic()
            status, _ = request(middle.plain, "POST", "/events/prices", f"price {number}")
            assert status == 202, f"a publish is answered with {status}"
            stream.wait_for(f"price {number}", seconds=3)
            took = time.monotonic() - begin
            assert took < AT_ONCE, f"an event took {took:.2f} s"


def quiet_stream_stays(middle: Middle, proxy: Proxy) -> None:
    """A stream without events is still there after three of the timeouts, and gets the next event."""
    with Stream(middle.plain, "/events/quiet") as stream:
        assert not stream.ended.wait(3 * QUIET), f"a quiet stream was cut within {3 * QUIET} s"
        proxy.publish("quiet", "still here")
        stream.wait_for("still here")


def resumes(middle: Middle, proxy: Proxy) -> None:
    """What was published while nobody was there comes after a reconnect with the last id, once."""
    topic = f"resumed-{middle.plain}"
    with Stream(middle.plain, f"/events/{topic}") as stream:
        proxy.publish(topic, "one")
        last = stream.wait_for("one")["id"]
    for data in ("two", "three"):
        proxy.publish(topic, data)
    for path, headers in [(f"/events/{topic}", {"Last-Event-ID": last}), (f"/events/{topic}?lastEventId={last}", {})]:
        with Stream(middle.plain, path, headers) as stream:
            proxy.publish(topic, "four")
            stream.wait_for("four")
            assert stream.data()[:3] == ["two", "three", "four"], f"resumed with {stream.data()}"


def client_is_known(middle: Middle, admins: list[int]) -> None:
    """The instances see the address of the client, not that of what is in front of them."""
    connection = http.client.HTTPConnection("127.0.0.1", middle.plain, timeout=10, source_address=("127.0.0.7", 0))
    connection.request("GET", "/events/known")
    answer = connection.getresponse()
    try:
        bodies = [request(admin, "GET", "/admin/connections", source=STRANGER)[1] for admin in admins]
        assert any("127.0.0.7" in body for body in bodies), f"no instance knows the client: {bodies}"
    finally:
        answer.close()
        connection.close()


def over_http2(middle: Middle, proxy: Proxy, folder: Path) -> None:
    """The same over TLS and HTTP/2, by curl."""
    output = folder / "curl.output"
    address = f"https://127.0.0.1:{middle.tls}/events/prices-h2"
    with Program(["curl", "-sS", "-k", "-N", "--http2", "-i", "--max-time", "30", address], output) as curl:
        wait_until(lambda: "HTTP/2 200" in curl.text(), f"HTTP/2 is spoken; curl says {curl.text()}")
        wait_until(lambda: "retry:" in curl.text(), "the stream begins")
        proxy.publish("prices-h2", "by h2")
        wait_until(lambda: "data: by h2" in curl.text(), "an event arrives at once", AT_ONCE)


def instances(folder: Path, keepalive: int, extra: str = "") -> tuple[list[Proxy], list[int]]:
    """Three instances that know each other, with an admin listener each."""
    text = (EXAMPLES / "proxy.toml").read_text(encoding="utf-8")
    text = re.sub(r"keepalive_interval_sec = \d+", f"keepalive_interval_sec = {keepalive}\nrate_limit_per_ip = 0\n{extra}", text)
    meshes = [ports.free(2) for _ in range(3)]
    proxies, admins = [], []
    for number, mesh in enumerate(meshes):
        admin = ports.free()
        peers = ", ".join(f'"tcp://127.0.0.1:{port}"' for port in meshes if port != mesh)
        config = (
            f'proxy_id = "{"abc"[number]}"\n{text}\n[jwt_verifier]\nrequire_authentication = false\n[limits]\nmax_cpu_percent = 0\n'
            f'[nng]\nlisten_addresses = ["tcp://127.0.0.1:{mesh}"]\npeer_addresses = [{peers}]\n[admin]\nbind_address = "127.0.0.1:{admin}"\n'
        )
        proxies.append(Proxy(folder, config))
        admins.append(admin)
    for admin in admins:
        wait_until(lambda: len(_peers(admin)) == 2, "the instances know each other")
    return proxies, admins


def _peers(admin: int) -> list:
    status, body = request(admin, "GET", "/admin/peers", source=STRANGER)
    found = json.loads(body)
    return [peer for peer in (found.get("peers", found) if isinstance(found, dict) else found) if peer.get("state", "up") not in ("down", "gone")]


def fails(check, *arguments) -> bool:
    try:
        check(*arguments)
    except (AssertionError, TimeoutError):
        return True
    return False


PROGRAMS = {
    "nginx.conf": ["nginx", "-p", "{folder}", "-e", "stderr", "-c", "{folder}/nginx.conf"],
    "haproxy.cfg": ["haproxy", "-db", "-f", "{folder}/haproxy.cfg"],
    "haproxy-tcp.cfg": ["haproxy", "-db", "-f", "{folder}/haproxy-tcp.cfg"],
    "envoy.yaml": ["{folder}/envoy", "-c", "{folder}/envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "-l", "warn"],
}


def check_program(config: str, proxies: list[Proxy], admins: list[int], folder: Path) -> None:
    """All checks through one program; each asks another instance than the one that publishes, as it comes."""
    text = (EXAMPLES / config).read_text(encoding="utf-8")
    with Middle(folder, config, text, PROGRAMS[config], [proxy.port for proxy in proxies]) as middle:
        arrives_at_once(middle, proxies[0])
        resumes(middle, proxies[1])
        quiet_stream_stays(middle, proxies[2])
        client_is_known(middle, admins)
        if "8443" in text:
            over_http2(middle, proxies[0], folder)


def check_controls(folder: Path, proxies: list[Proxy], silent: list[Proxy]) -> None:
    """Configurations that are wrong in one place are found out."""
    right = (EXAMPLES / "nginx.conf").read_text(encoding="utf-8")
    wrong = right.replace("proxy_buffering off;", "proxy_ignore_headers X-Accel-Buffering;").replace("proxy_http_version 1.1;", "")
    with Middle(folder, "nginx.conf", wrong, PROGRAMS["nginx.conf"], [proxy.port for proxy in proxies]) as middle:
        assert fails(arrives_at_once, middle, proxies[0]), "an nginx that buffers was not found out"
    for config in ("nginx.conf", "haproxy.cfg", "envoy.yaml"):
        text = (EXAMPLES / config).read_text(encoding="utf-8")
        with Middle(folder, config, text, PROGRAMS[config], [proxy.port for proxy in silent]) as middle:
            assert fails(quiet_stream_stays, middle, silent[0]), f"{config}: a stream that outlives its timeout says nothing about keepalives"


def make_certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")],
        check=True, capture_output=True,
    )
    (folder / "tls.pem").write_text((folder / "tls.crt").read_text() + (folder / "tls.key").read_text())
    for name in ("tls.key", "tls.pem"):
        (folder / name).chmod(0o644)


def copy_envoy(folder: Path) -> None:
    """Puts Envoy's program, which a Python package brings, where an unprivileged user may run it."""
    program = Path(importlib.util.find_spec("envoy").origin).parent / "_bin" / "envoy"
    shutil.copy(program, folder / "envoy")
    (folder / "envoy").chmod(0o755)


def main() -> int:
    missing = [name for name in ("nginx", "haproxy", "setpriv", "openssl", "curl") if not shutil.which(name)]
    if missing:
        print(f"proxies: {', '.join(missing)} is missing; run ./install.sh --tools-only documentation")
        return 1
    failed = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o777)
        make_certificate(folder)
        copy_envoy(folder)
        groups = {
            "usual": instances(folder, KEEPALIVE),
            "tcp": instances(folder, KEEPALIVE, "proxy_protocol = true"),
            "silent": instances(folder, 3600),
        }
        try:
            for config in PROGRAMS:
                try:
                    check_program(config, *groups["tcp" if "tcp" in config else "usual"], folder)
                    print(f"proxies: {config}: ok", flush=True)
                except AssertionError as error:
                    failed += 1
                    print(f"proxies: {config}: {error}", flush=True)
            check_controls(folder, groups["usual"][0], groups["silent"][0])
            print("proxies: wrong configurations are found out", flush=True)
        finally:
            for proxies, _ in groups.values():
                for proxy in proxies:
                    proxy.end()
    print(f"proxies: {len(PROGRAMS) - failed} of {len(PROGRAMS)} configurations")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
