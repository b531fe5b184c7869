"""Proxies to test against, and what back ends send to them."""

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(os.environ.get("SSE_PROXY", ROOT / "target/debug/sse-proxy"))
SECRET = "the client grid signs its tokens with this text"

CONFIGURATION = """
log_level = "warn"
[http]
bind_address = "127.0.0.1:{port}"
keepalive_interval_sec = 1
retry_ms = {retry_ms}
drain_window_sec = 1
rate_limit_per_ip = 0
max_connections = {max_connections}
cors_allowed_origins = {origins}
[history]
max_events_per_topic = {history}
[limits]
max_cpu_percent = 0
[[auth.keys]]
algorithm = "HS256"
secret = "{secret}"
"""


DEFAULTS = {"retry_ms": 2000, "history": 1000, "max_connections": 1000}


def free_port() -> int:
    """A port that nobody has at the moment.

    It lies below those that the kernel gives to outgoing connections, so that none of them takes it between the end of
    a proxy and the start of its replacement.
    """
    for _ in range(1000):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("there is no free port between 20000 and 32000")


def token(*, subscribe: list[str], publish: list[str] = (), secret: str = SECRET) -> str:
    """A JSON web token for these topics, signed with HS256 (RFC 7519, RFC 7518 section 3.2)."""
    claims = {
        "sub": "client-grid",
        "exp": int(time.time()) + 3600,
        "revenprox": {"subscribe": list(subscribe), "publish": list(publish)},
    }
    text = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{text}.{_base64(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Proxy:
    """One run of the proxy on a port of its own."""

    def __init__(self, *, origins: list[str], **settings: int) -> None:
        self.port = free_port()
        self._values = DEFAULTS | settings | {"port": self.port, "origins": json.dumps(origins), "secret": SECRET}
        self._folder = tempfile.TemporaryDirectory(prefix="revenprox-clients-")
        self._process: subprocess.Popen | None = None
        self._publish = token(subscribe=["*"], publish=["*"])

    async def __aenter__(self) -> "Proxy":
        configuration = Path(self._folder.name) / "proxy.toml"
        configuration.write_text(CONFIGURATION.format(**self._values))
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        await asyncio.to_thread(self._process.wait)
        self._folder.cleanup()

    async def start(self) -> None:
        """Starts the program and waits until it is ready."""
        log = open(Path(self._folder.name) / "log", "ab")
        command = [PROGRAM, "--config", Path(self._folder.name) / "proxy.toml"]
        self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        deadline = time.monotonic() + 30
        while not await asyncio.to_thread(self._ready):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the proxy does not start: {self.log()}")
            await asyncio.sleep(0.01)

    def log(self) -> str:
        return (Path(self._folder.name) / "log").read_text()

    async def drain(self) -> None:
        """Ends it as a service manager does, and waits until it has gone."""
        self._process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self._process.wait, 60)
        if code != 0:
            raise RuntimeError(f"the proxy ended with {code}: {self.log()}")

    async def has_subscriber(self, topic: str, seconds: float) -> bool:
        """Waits until it has one."""
        return await self._subscribers(topic, 1, seconds)

    async def forgets(self, topic: str) -> None:
        """Waits until it has noticed that nobody has the topic any more."""
        if not await self._subscribers(topic, 0, 20):
            raise RuntimeError(f"the proxy still has a subscriber for {topic}")

    async def subscribe(self, topic: str) -> asyncio.StreamWriter:
        """Takes one of its places, until what is returned is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"GET /events/{topic} HTTP/1.1", "Host: proxy", f"Authorization: Bearer {self._publish}", "", ""]
        writer.write("\r\n".join(lines).encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"subscribing failed: {status.decode()}")
        return writer

    async def publish(self, topic: str, data: str, **query: str) -> str:
        """Publishes one event and returns its id."""
        address = f"/events/{urllib.parse.quote(topic)}?{urllib.parse.urlencode(query)}"
        status, body = await asyncio.to_thread(self._request, "POST", address, data.encode())
        if status != 202:
            raise RuntimeError(f"publishing failed with {status}: {body}")
        return json.loads(body)["id"]

    async def publish_many(self, topic: str, texts: list[str]) -> list[str]:
        """Publishes events in one batch and returns their ids."""
        lines = "".join(json.dumps({"topic": topic, "data": text}) + "\n" for text in texts)
        kind = "application/x-ndjson"
        status, body = await asyncio.to_thread(self._request, "POST", "/events", lines.encode(), kind)
        if status != 202:
            raise RuntimeError(f"publishing failed with {status}: {body}")
        return [json.loads(line)["id"] for line in body.splitlines()]

    async def _subscribers(self, topic: str, count: int, seconds: float) -> bool:
        """Waits until the topic has so many; only the proxy knows, so that it has to be asked again and again."""
        deadline = time.monotonic() + seconds
        path = f"/presence/{topic}"
        while json.loads((await asyncio.to_thread(self._request, "GET", path))[1])["subscribers"] != count:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    def _ready(self) -> bool:
        try:
            return self._request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def _request(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Authorization": f"Bearer {self._publish}"} | ({"Content-Type": kind} if kind else {})
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
