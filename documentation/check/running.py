"""Programs that a check starts, and the proxy among them."""

import atexit
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pages
import ports


# An address of this machine that no proxy is told to trust, as that of a balancer is.
STRANGER = "127.0.0.9"


def proxy_program() -> Path:
    """The proxy that is checked: what SSE_PROXY names, or what cargo has built last."""
    named = os.environ.get("SSE_PROXY")
    if named:
        found = [Path(named).resolve()]
    else:
        found = [pages.ROOT / "target" / profile / "sse-proxy" for profile in ("debug", "release")]
        found = sorted((path for path in found if path.exists()), key=lambda path: path.stat().st_mtime, reverse=True)
    if not found or not found[0].exists():
        raise SystemExit("there is no sse-proxy: build one with `cargo build`, or name one with SSE_PROXY")
    return found[0]


def wait_until(condition, what: str, seconds: float = 15.0):
    """Waits for a condition to be true and gives back what it gave; fails with what it was if it never is."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:g} seconds")
        time.sleep(0.02)


class Program:
    """A program in a session of its own, whose output goes to a file; ending it ends all that it started."""

    def __init__(self, arguments: list[str], output: Path, environment: dict[str, str] | None = None, folder: Path | None = None):
        self.output = output
        self.name = Path(arguments[0]).name
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, **(environment or {})}, cwd=folder,
            )
        atexit.register(self.end)

    def text(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def end(self, wait: float = 5.0) -> None:
        """Asks the program's whole session to end, and after a while makes it."""
        atexit.unregister(self.end)
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(wait)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait(wait)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Proxy(Program):
    """A proxy on a free port, without a configuration file unless one is given."""

    def __init__(self, folder: Path, config: str | None = None, port: int | None = None, environment: dict[str, str] | None = None):
        self.port = port or ports.free()
        arguments = [str(proxy_program())]
        if config is None:
            arguments.append("--dev")
        else:
            file = folder / f"proxy-{self.port}.toml"
            file.write_text(config, encoding="utf-8")
            arguments += ["--config", str(file)]
        address = {"REVENPROX_HTTP__BIND_ADDRESS": f"127.0.0.1:{self.port}"}
        super().__init__(arguments, folder / f"proxy-{self.port}.log", {**address, **(environment or {})}, folder)
        self.url = f"http://127.0.0.1:{self.port}"
        wait_until(self._is_ready, f"the proxy is ready, its log is {self.output}")

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the proxy ended:\n{self.text()}")
        try:
            return request(self.port, "GET", "/readyz", source=STRANGER)[0] == 200
        except OSError:
            return False

    def publish(self, topic: str, data: str, **headers: str) -> tuple[int, str]:
        return request(self.port, "POST", f"/events/{topic}", data, headers, STRANGER)


def request(port: int, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None, source: str = "") -> tuple[int, str]:
    """One request to this machine: status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15, source_address=(source, 0) if source else None)
    try:
        connection.request(method, path, body.encode() if body is not None else None, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Stream:
    """A subscriber: reads a stream in a thread and remembers each event with the time at which it came."""

    def __init__(self, port: int, path: str, headers: dict[str, str] | None = None, timeout: float = 60.0):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.connection.request("GET", path, headers={"Accept": "text/event-stream", **(headers or {})})
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self.headers = {name.lower(): value for name, value in self.answer.getheaders()}
        self.events: list[dict] = []
        self.comments = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        event: dict = {}
        try:
            for raw in iter(self.answer.readline, b""):
                line = raw.decode().rstrip("\r\n")
                name, _, value = line.partition(":")
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    value = value.removeprefix(" ")
                    event[name] = f"{event[name]}\n{value}" if name == "data" and "data" in event else value
                elif "data" in event:
                    self.events.append({"time": time.monotonic(), **event})
                    event = {}
                else:
                    event = {}
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass
        self.ended.set()

    def data(self) -> list[str]:
        return [event["data"] for event in self.events]

    def wait_for(self, data: str, seconds: float = 15.0) -> dict:
        """Waits for an event with this data."""
        return wait_until(
            lambda: next((event for event in self.events if event["data"] == data), None), f"an event with `{data}`", seconds
        )

    def close(self) -> None:
        if self.connection.sock:
            with contextlib.suppress(OSError):
                self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.ended.wait(5)
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
