"""Programs that a test runs: proxies in a mesh, Prometheus, a collector. Each ends with the test that started it."""

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "monitoring"


def program(variable):
    """The path of a program, which the Makefile puts into an environment variable."""
    path = os.environ.get(variable)
    if not path or not os.access(path, os.X_OK):
        raise SystemExit(f"{variable} must name a program and is {path!r}; the target of make that runs this sets it")
    return path


def free_port(following=0):
    """A port of the loopback that is free, and so are as many after it."""
    for _ in range(200):
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            others = [socket.socket() for _ in range(following)]
            try:
                for distance, other in enumerate(others, 1):
                    other.bind(("127.0.0.1", port + distance))
                return port
            except (OSError, OverflowError):
                continue
            finally:
                for other in others:
                    other.close()
    raise RuntimeError("no ports are free")


def get(url, timeout=5):
    """The status and text that a URL answers with."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(what, condition, seconds=20):
    """Waits until a condition holds and returns what it returned; fails with what did not come."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            if value := condition():
                return value
        except OSError as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what} in vain; last error: {last}")


def answers(url):
    """A condition: the URL answers with 200."""
    return lambda: get(url)[0] == 200


class Processes:
    """A folder, and the processes that write their logs into it."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="revenprox-monitoring-")
        self.folder = Path(self._folder.name)
        self._running = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def start(self, name, command, environment=None):
        """Starts a program; its output goes into a file of its name."""
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=self.folder)
        log.close()
        self._running[name] = process
        return process

    def stop(self, process):
        """Ends one of them."""
        self._running = {name: other for name, other in self._running.items() if other is not process}
        process.terminate()
        process.wait(timeout=20)

    def log(self, name):
        """What a program has said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def must_run(self):
        """Fails with the log of a program that has ended by itself."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with {process.returncode}:\n{self.log(name)[-4000:]}")

    def end(self):
        """Ends everything, politely first."""
        for process in self._running.values():
            # One that stands still could not end.
            for number in (signal.SIGCONT, signal.SIGTERM):
                if process.poll() is None:
                    process.send_signal(number)
        for process in self._running.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._folder.cleanup()
