#!/usr/bin/env python3
"""Checks documentation/openapi.yaml, and running proxies against it.

    run.py SSE_PROXY

starts proxies of this binary, two of them a mesh, on free ports of this machine, and lets schemathesis send them what the file allows and
what it forbids. Runs in the environment that requirements.txt describes; api.mk makes it.
"""

import base64
import concurrent.futures
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
SPECIFICATION = HERE.parents[1] / "documentation" / "openapi.yaml"
SECRET = "a secret of these checks, and of nothing else"
ADMIN_SECRET = "what an operator of these checks has to know"
# How long one run of schemathesis may take, in seconds.
TIME_MAX = 240
# Which operations a run is about.
CLIENTS = ("--include-path-regex", "^/(events|presence)")
OPERATORS = ("--include-path-regex", "^/admin/(?!drain)")
PROBES = ("--include-path-regex", "^/(health|livez|readyz|metrics)$")
PAGE = ("--include-path-regex", "^/debug$")
DRAIN = ("--include-operation-id", "drain")
STREAMS = ("--include-operation-id", "subscribe", "--include-operation-id", "subscribeToMany")
NO_STREAMS = ("--exclude-operation-id", "subscribe", "--exclude-operation-id", "subscribeToMany")
# Where no token is asked for, it is no failure to be answered without one.
NO_TOKEN = ("--exclude-checks", "ignored_auth")

COMMON = """
proxy_id = "{name}"
[http]
bind_address = "127.0.0.1:{port}"
rate_limit_per_ip = 0
thread_pool_size = 1
[admin]
bind_address = "127.0.0.1:{admin_port}"
{admin}
[limits]
max_memory_mb = 0
max_cpu_percent = 0
max_network_mbps = 0
"""
MESH = """
[nng]
listen_addresses = ["ipc://{folder}/{name}.mesh"]
peer_addresses = ["ipc://{folder}/a.mesh"]
"""
OPEN = "[jwt_verifier]\nrequire_authentication = false\n"
LOCKED = f'[[auth.keys]]\nalgorithm = "HS256"\nsecret = "{SECRET}"\n'


class Failed(Exception):
    pass


class Proxy:
    """A proxy that runs for as long as the `with` around it; without a configuration, for development."""

    def __init__(self, binary, folder, name, config, admin=""):
        port, admin_port = free_ports(2)
        self.url, self.admin_url = (f"http://127.0.0.1:{port}" for port in (port, admin_port))
        self.log = folder / f"{name}.log"
        arguments, environment = ["--dev"], {"REVENPROX_HTTP__BIND_ADDRESS": f"127.0.0.1:{port}"}
        if config is not None:
            file = folder / f"{name}.toml"
            text = COMMON + config
            file.write_text(text.format(name=name, port=port, admin_port=admin_port, admin=admin, folder=folder))
            arguments, environment = ["--config", file], {}
        self.process = subprocess.Popen(
            [binary, *arguments], stdout=subprocess.DEVNULL, stderr=self.log.open("w"), env={**os.environ, **environment}
        )

    def __enter__(self):
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as answer:
                if answer.status == 200:
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.__exit__()
        raise Failed(f"the proxy did not start:\n{self.log.read_text()}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def free_ports(count):
    """Ports that were free a moment ago; held together, so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def schemathesis(title, url, only, *arguments, env=None):
    """Checks some operations at an address. Returns whether all was well, and what there is to read."""
    command = ["schemathesis", "--config-file", HERE / "schemathesis.toml", "run", SPECIFICATION, "--url", url]
    command += [*only, "--no-color", *arguments]
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=HERE,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_MAX,
        check=False,
    )
    well = done.returncode == 0
    verdict = f"=== {title}: {'ok' if well else 'FAILED'} after {time.monotonic() - started:.0f} s"
    cases = [line.strip() for line in done.stdout.splitlines() if " generated, " in line]
    return well, "\n".join([verdict, *cases] if well else [done.stdout, verdict])


def bearer(secret):
    return ("-H", f"Authorization: Bearer {secret}")


def token(binary, topics):
    arguments = [binary, "token", "--secret", SECRET, "--ttl", "1h", "--subscribe", topics, "--publish", topics]
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()


def open_mesh(binary, folder):
    """Two instances that ask for no token: everything that answers at once."""
    with Proxy(binary, folder, "a", OPEN + MESH) as proxy, Proxy(binary, folder, "b", OPEN + MESH):
        yield schemathesis("clients, no token needed", proxy.url, CLIENTS, *NO_STREAMS, *NO_TOKEN)
        yield schemathesis("probes", proxy.url, PROBES, *NO_TOKEN)
        yield schemathesis("operators, no token needed", proxy.admin_url, OPERATORS, *NO_TOKEN)
        yield schemathesis("the debugger's page for operators", proxy.admin_url, PAGE, *NO_TOKEN)
        # Where there is nothing, no method is known either.
        absent = ("--exclude-checks", "ignored_auth,positive_data_acceptance,unsupported_method")
        yield schemathesis("no page for clients", proxy.url, PAGE, *absent, env={"EXPECT": "no page"})
    with Proxy(binary, folder, "c", None) as proxy:
        yield schemathesis("the debugger's page for development", proxy.url, PAGE, *NO_TOKEN)


def locked_mesh(binary, folder):
    """Two instances that ask for tokens, and operators for a secret."""
    admin = f'token = "{ADMIN_SECRET}"'
    config = LOCKED + MESH
    with Proxy(binary, folder, "a", config, admin) as proxy, Proxy(binary, folder, "b", config, admin):
        yield schemathesis("clients with a token", proxy.url, CLIENTS, *NO_STREAMS, *bearer(token(binary, "*")))
        forbidden = {"EXPECT": "forbidden"}
        other = bearer(token(binary, "no topic\u0001has this name"))
        yield schemathesis("clients with a token for other topics", proxy.url, CLIENTS, *NO_TOKEN, *other, env=forbidden)
        yield schemathesis("clients without a token", proxy.url, CLIENTS, *NO_TOKEN, env=forbidden)
        for title, only in (("operators", OPERATORS), ("probes", PROBES), ("the debugger's page", PAGE)):
            yield schemathesis(f"{title} with the secret", proxy.admin_url, only, *bearer(ADMIN_SECRET))
        yield schemathesis("the debugger's page without the secret", proxy.admin_url, PAGE, *NO_TOKEN, env=forbidden)
        password = base64.b64encode(f"anybody:{ADMIN_SECRET}".encode()).decode()
        yield schemathesis("the debugger's page with a password", proxy.admin_url, PAGE, "-H", f"Authorization: Basic {password}")


def streams(binary, folder):
    """Streams, of an instance that is alone, since the head of a stream waits for other instances. In the end it is drained."""
    with Proxy(binary, folder, "a", OPEN) as proxy:
        yield schemathesis("streams, no token needed", proxy.url, STREAMS, *NO_TOKEN)
        yield schemathesis("drain", proxy.admin_url, DRAIN, *NO_TOKEN)
        # What a drained instance answers is a server error by intention.
        checks = ("--exclude-checks", "ignored_auth,not_a_server_error,positive_data_acceptance")
        drained = {"EXPECT": "draining"}
        yield schemathesis("streams of an instance that drains", proxy.url, STREAMS, *checks, env=drained)
    with Proxy(binary, folder, "b", LOCKED) as proxy:
        yield schemathesis("streams with a token", proxy.url, STREAMS, *bearer(token(binary, "*")))


def run_group(group, binary):
    # A short path: that of a Unix socket has at most about a hundred bytes.
    with tempfile.TemporaryDirectory(prefix="api-") as folder:
        for well, text in group(binary, pathlib.Path(folder)):
            print(text, flush=True)
            yield well


def main(binary):
    subprocess.run(["openapi-spec-validator", SPECIFICATION], check=True)
    groups = (streams, open_mesh, locked_mesh)
    # Streams are mostly waited for, so the groups go side by side.
    with concurrent.futures.ThreadPoolExecutor(len(groups)) as pool:
        running = [pool.submit(lambda group: list(run_group(group, binary)), group) for group in groups]
        results = [well for group in running for well in group.result()]
    passed = sum(results)
    print(f"\n{passed} passed, {len(results) - passed} failed")
    return 0 if passed == len(results) else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        sys.exit(main(os.path.abspath(sys.argv[1])))
    except Failed as failed:
        sys.exit(f"run.py: {failed}")
