"""What a client reports, and the programs that report it."""

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from .waiting import Waiting

# Types of events that are listened for; clients with the interface of EventSource have to name them.
EVENT_TYPES = ("named", "revenprox-gap", "revenprox-retry")


@dataclass(frozen=True)
class Event:
    """One event as the client handed it to its user."""

    id: str | None
    event: str
    data: str


class Client(Waiting):
    """One run of a client."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.states: list[dict] = []
        self.complaints = b""

    def report(self, line: str) -> None:
        """Takes one line of JSON from the adapter."""
        report = json.loads(line)
        if report["type"] == "event":
            self.events.append(Event(report.get("id"), report.get("event") or "message", report["data"]))
        else:
            self.states.append(report)
        self.changed()

    def data(self) -> list[str]:
        """The data of all events of publishers so far."""
        return [event.data for event in self.events if not event.event.startswith("revenprox-")]

    def named(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.event == kind]

    def status(self) -> int | None:
        """The first HTTP status that the client told of with an error."""
        return next((state["status"] for state in self.states if state.get("status")), None)

    def failed(self) -> bool:
        """Whether the client told its user of any error."""
        return any(state["type"] in ("error", "closed") for state in self.states)

    async def stop(self) -> None:
        """Ends the run."""


class ProgramClient(Client):
    """A client that is a program of its own: one line of JSON for each event or change of state."""

    def __init__(self, command: list[str], folder: Path) -> None:
        super().__init__()
        self._command = command
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task] = []

    async def start(self, url: str, token: str | None) -> None:
        command = [*self._command, url, "--types", ",".join(EVENT_TYPES)]
        if token:
            command += ["--token", token]
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            limit=1 << 22,
            # A group of its own: some start a program themselves.
            start_new_session=True,
        )
        self._tasks = [asyncio.create_task(self._reports()), asyncio.create_task(self._complaints())]

    async def stop(self) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        await self._process.wait()
        await asyncio.gather(*self._tasks)

    async def _reports(self) -> None:
        while line := await self._process.stdout.readline():
            self.report(line.decode())
        self.states.append({"type": "closed"})
        self.changed()

    async def _complaints(self) -> None:
        while piece := await self._process.stderr.read(65536):
            self.complaints = (self.complaints + piece)[-4000:]


class BrowserHost:
    """One browser that runs many pages: `host.mjs` starts it, and speaks lines of JSON in both directions."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._command = command
        self._folder = folder
        self._runs: dict[str, PageClient] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task | None = None
        self._ready = asyncio.Event()

    async def __aenter__(self) -> "BrowserHost":
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=self._folder, stdin=pipe, stdout=pipe, limit=1 << 22
        )
        self._reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait_for(self._ready.wait(), 60)
        except TimeoutError:
            raise RuntimeError(f"the browser does not start: {' '.join(self._command)}") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()
        await self._reader

    def send(self, run: "PageClient", message: dict) -> None:
        self._runs[run.name] = run
        self._process.stdin.write(json.dumps(message | {"run": run.name}).encode() + b"\n")

    async def _read(self) -> None:
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if message["type"] == "ready":
                self._ready.set()
            else:
                self._runs[message["run"]].report(line.decode())
        for run in self._runs.values():
            run.states.append({"type": "closed"})
            run.changed()


class PageClient(Client):
    """A client that is a page in a browser."""

    def __init__(self, host: BrowserHost, name: str, library: str, same_origin: bool) -> None:
        super().__init__()
        self.name = name
        self._host = host
        self._library = library
        self._same_origin = same_origin

    async def start(self, url: str, token: str | None) -> None:
        options = {"url": url, "token": token, "types": EVENT_TYPES}
        page = {"library": self._library, "sameOrigin": self._same_origin}
        self._host.send(self, {"do": "start", "options": options} | page)

    async def stop(self) -> None:
        self._host.send(self, {"do": "stop"})
