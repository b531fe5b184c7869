"""Three proxies in a mesh, on the loopback, each with limits small enough that a short test reaches them."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from pathlib import Path

from processes import free_port, get, program, wait_for

SECRET = "a secret of the test, known to nobody else"
# How often one address may subscribe within a minute.
RATE_LIMIT = 250
NAMES = ("one", "two", "three")

CONFIG = """\
proxy_id = "{name}"

[http]
bind_address = "127.0.0.1:{http}"
max_message_queue_size = 50
backpressure_policy = "{policy}"
rate_limit_per_ip = {rate_limit}
drain_window_sec = 3

[jwt_verifier]
webhook_url = "http://127.0.0.1:{issuer}/verify"
timeout_ms = 500
retry_attempts = 0
circuit_breaker_threshold = 3
circuit_breaker_timeout_sec = 2
negative_cache_ttl_sec = 0

[auth]
jwks = [{{ url = "http://127.0.0.1:{issuer}/jwks", refresh_sec = 10 }}]
keys = [{{ algorithm = "HS256", kid = "local", secret = "{secret}" }}]

[admin]
bind_address = "127.0.0.1:{admin}"

[nng]
listen_addresses = ["tcp://127.0.0.1:{mesh}"]
peer_addresses = [{peers}]
key = "{secret}"
pub_buffer_size = 500
message_batch_size = 10

[discovery]
dns_name = "instances.invalid"
dns_servers = ["127.0.0.1:9"]
dns_interval_sec = 1

[publish]
idempotency_max_keys = 2

[distributed_state]
peer_timeout_sec = 4

[history]
max_total_mb = 1
resume_wait_ms = 500

[telemetry]
otlp_endpoint = "http://127.0.0.1:{collector}"
"""


@dataclass
class Proxy:
    """One instance: its name, where it answers, its configuration and its process."""

    name: str
    http: int
    admin: int
    mesh: int
    config: Path
    process: object = None

    def metric(self, name):
        """The sum of a metric's samples, as this instance tells it now."""
        _, text = get(f"http://127.0.0.1:{self.admin}/metrics")
        lines = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def start(processes, issuer, collector):
    """Starts all three and waits until each hears the two others."""
    proxies = []
    for name in NAMES:
        ports = {"http": free_port(), "admin": free_port(), "mesh": free_port(following=1)}
        proxies.append(Proxy(name, config=processes.folder / f"{name}.toml", **ports))
    for proxy in proxies:
        peers = ", ".join(f'"tcp://127.0.0.1:{other.mesh}"' for other in proxies if other is not proxy)
        values = {"issuer": issuer, "collector": collector, "peers": peers, "secret": SECRET, "rate_limit": RATE_LIMIT}
        values["policy"] = "block" if proxy.name == "two" else "drop_oldest"
        proxy.config.write_text(CONFIG.format(name=proxy.name, http=proxy.http, admin=proxy.admin, mesh=proxy.mesh, **values))
        run(processes, proxy)
    meet(processes, proxies)
    return proxies


def run(processes, proxy):
    """Starts one, for the first time or again."""
    proxy.process = processes.start(proxy.name, [program("SSE_PROXY"), "--config", str(proxy.config)])


def meet(processes, proxies):
    """Waits until each hears all others."""

    def all_meet():
        processes.must_run()
        return all(proxy.metric("revenprox_peers_connected") == len(proxies) - 1 for proxy in proxies)

    wait_for("each instance to hear the others", all_meet)


def start_stranger(processes, proxies):
    """Starts an instance that has another key and wants to join."""
    mesh = free_port(following=1)
    config = processes.folder / "stranger.toml"
    config.write_text(
        f'''proxy_id = "stranger"
[http]
bind_address = "127.0.0.1:0"
[jwt_verifier]
require_authentication = false
[nng]
listen_addresses = ["tcp://127.0.0.1:{mesh}"]
peer_addresses = ["tcp://127.0.0.1:{proxies[0].mesh}"]
key = "another key, which is no less long than the right one"
'''
    )
    return processes.start("stranger", [program("SSE_PROXY"), "--config", str(config)])


def token(secret=SECRET, kid="local", ttl=3600, **claims):
    """A token for every topic, signed with HS256."""
    head = {"alg": "HS256", "typ": "JWT", "kid": kid}
    grants = {"subscribe": ["*"], "publish": ["*"]}
    body = {"sub": "test", "exp": int(time.time()) + ttl, "revenprox": grants} | claims
    text = ".".join(_base64(json.dumps(part).encode()) for part in (head, body))
    return f"{text}.{_base64(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


def _base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
