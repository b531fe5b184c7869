"""A TCP relay between one client and the proxy: it sees every request, and breaks connections when it is told to."""

import asyncio
import socket
import struct
import time
from dataclasses import dataclass, field

from .waiting import Waiting

KEEPALIVE = b": keepalive\n"
HEAD_END = b"\r\n\r\n"


@dataclass
class Request:
    """One GET of a client, and what it was answered with."""

    line: str
    headers: dict[str, str]
    at: float
    status: int | None = None


@dataclass
class Tally:
    """Counts a pattern in bytes that come in pieces."""

    pattern: bytes
    count: int = 0
    rest: bytes = b""

    def feed(self, piece: bytes) -> None:
        text = self.rest + piece
        self.count += text.count(self.pattern)
        self.rest = text[-(len(self.pattern) - 1) :]


@dataclass(eq=False)
class Link:
    """One connection of a client and the one to the proxy that goes with it."""

    client: asyncio.StreamWriter
    proxy: asyncio.StreamWriter | None = None
    unanswered: list[Request] = field(default_factory=list)
    head: bytes = b""


class Relay(Waiting):
    """Listens on a free port and passes everything on to the proxy, unless its mode says otherwise.

    * `pass`: what comes in goes on.
    * `hold`: requests are read, and wait until the mode is `pass` again.
    * `reset`: connections are accepted and reset at once, as by a machine on which nothing listens any more.
    """

    def __init__(self, upstream: int) -> None:
        super().__init__()
        self.upstream = upstream
        self.port = 0
        self.mode = "pass"
        self.requests: list[Request] = []
        self.resets: list[float] = []
        self.keepalives = Tally(KEEPALIVE)
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut(reset=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def set_mode(self, mode: str) -> None:
        self.mode = mode
        self.changed()

    def cut(self, *, reset: bool) -> float:
        """Breaks all connections: by RST, or by FIN in the middle of the chunked body. Returns when."""
        for link in list(self._links):
            if reset:
                _reset(link.client)
            link.client.close()
            if link.proxy:
                link.proxy.close()
        return time.monotonic()

    def streams(self) -> int:
        """How many requests have been answered with a stream so far."""
        return sum(request.status == 200 for request in self.requests)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        link = Link(writer)
        self._links.add(link)
        try:
            if self.mode == "reset":
                self.resets.append(time.monotonic())
                _reset(writer)
                self.changed()
            else:
                await self._requests(reader, link)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            if link.proxy:
                link.proxy.close()
            self._links.discard(link)
            self._tasks.discard(task)

    async def _requests(self, reader: asyncio.StreamReader, link: Link) -> None:
        """Reads one request head after the other: what clients of an event stream send has no body."""
        while True:
            head = await reader.readuntil(HEAD_END)
            request = _parse(head)
            if request.line.startswith("GET /events"):
                self.requests.append(request)
                self.changed()
            await self.until(lambda: self.mode != "hold", seconds=60)
            if link.proxy is None:
                back, link.proxy = await asyncio.open_connection("127.0.0.1", self.upstream)
                answers = asyncio.create_task(self._answers(back, link))
                self._tasks.add(answers)
                answers.add_done_callback(self._tasks.discard)
            link.unanswered.append(request)
            link.proxy.write(head)

    async def _answers(self, back: asyncio.StreamReader, link: Link) -> None:
        try:
            while piece := await back.read(65536):
                link.client.write(piece)
                await link.client.drain()
                self._watch(piece, link)
        except OSError:
            pass
        link.client.close()

    def _watch(self, piece: bytes, link: Link) -> None:
        """Notes the status of each answer, and keepalives.

        Answers begin with their status line; a client that waits for one before it sends the next request, as all do,
        gets them in pieces of their own.
        """
        if link.unanswered and piece.startswith(b"HTTP/1.1 "):
            link.unanswered.pop(0).status = int(piece[9:12])
        self.keepalives.feed(piece)
        self.changed()


def _parse(head: bytes) -> Request:
    line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (field.partition(":") for field in fields)
    return Request(line, {name.strip().lower(): value.strip() for name, _, value in pairs}, time.monotonic())


def _reset(writer: asyncio.StreamWriter) -> None:
    """Lets the close of a connection be an RST: nothing waits to be sent, and the other side gets an error."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
