"""What is tried with every client. Each scenario returns one outcome in words; `BEST` has the one to wish for."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

from .adapter import Client, Event
from .payloads import BURST, LARGE, SHAPES, Shape
from .proxy import Proxy, token
from .relay import Relay

# How long a client may take for what it does at once.
SOON = 20
# How long one that comes back may wait before it does.
PATIENCE = 25
# How long nothing has to happen to be taken for nothing.
QUIET = 5
HISTORY = 20
RETRY_MS = 300
# More than twice what any of the clients waits by itself.
LONG_RETRY_MS = 7000

YES = "yes"


@dataclass
class Run:
    """One client in one scenario."""

    client: Client
    topic: str
    proxy: Proxy
    relay: Relay
    by_header: bool

    async def start(self, token: str, port: int | None = None) -> None:
        url = f"http://127.0.0.1:{port or self.relay.port}/events/{self.topic}"
        if self.by_header:
            await self.client.start(url, token)
        else:
            await self.client.start(f"{url}?token={token}", None)

    async def connect(self) -> str:
        """Starts the client, and waits until it has received an event; returns the event's id."""
        await self.start(token(subscribe=[self.topic]))
        if not await self.relay.until(lambda: self.relay.streams() == 1, seconds=SOON):
            raise Failure(f"no stream was opened: {self.relay.requests}, {self.client.states}")
        return await self.publish_and_wait("first")

    async def publish_and_wait(self, text: str, seconds: float = SOON) -> str:
        """Publishes an event that the client has to receive."""
        id = await self.proxy.publish(self.topic, text)
        if not await self.client.until(lambda: text in self.client.data(), seconds=seconds):
            raise Failure(f"the event {text!r} did not arrive: {self.client.events[-3:]}, {self.client.states[-3:]}")
        return id

    async def back(self, streams: int = 2) -> bool:
        """Waits until the client has a stream again."""
        return await self.relay.until(lambda: self.relay.streams() >= streams, seconds=PATIENCE)


class Failure(Exception):
    """Not even what every client can do has worked."""


async def connect(run: Run) -> str:
    """The client has a stream by a token, and an event is there with its id."""
    id = await run.connect()
    event = run.client.events[0]
    return YES if event == Event(id, "message", "first") else f"has {event} instead"


async def shapes(run: Run) -> str:
    """Every kind of data arrives as it was published, with its id and its type, once."""
    await run.connect()
    published: list[tuple[str, Shape]] = []
    for shape in SHAPES:
        query = {} if shape.event == "message" else {"event": shape.event}
        published.append((await run.proxy.publish(run.topic, shape.published, **query), shape))
    await run.publish_and_wait("last")
    received = run.client.events[1:-1]
    wrong = [shape.name for id, shape in published if received.count(Event(id, shape.event, shape.received)) != 1]
    strange = len(received) - (len(published) - len(wrong))
    if not wrong and not strange:
        return YES
    return f"not {', '.join(wrong)}" if wrong else f"{strange} events too many"


async def large(run: Run) -> str:
    """A line of 64 KiB arrives."""
    await run.connect()
    await run.proxy.publish(run.topic, LARGE)
    await run.client.until(lambda: LARGE in run.client.data(), seconds=SOON / 2)
    if LARGE not in run.client.data():
        return "stuck" if run.relay.streams() > 2 else "no"
    await run.publish_and_wait("last")
    return YES if run.client.data() == ["first", LARGE, "last"] else "with other events"


async def burst(run: Run) -> str:
    """Many events at once arrive, in their order."""
    await run.connect()
    ids = await run.proxy.publish_many(run.topic, BURST)
    expected = [Event(id, "message", text) for id, text in zip(ids, BURST, strict=True)]
    await run.client.until(lambda: len(run.client.events) > len(expected), seconds=SOON)
    return YES if run.client.events[1:] == expected else f"{len(run.client.events) - 1} of {len(expected)}"


async def keepalive(run: Run) -> str:
    """Keepalives pass by without an event."""
    await run.connect()
    seen = run.relay.keepalives.count
    if not await run.relay.until(lambda: run.relay.keepalives.count >= seen + 2, seconds=SOON):
        raise Failure("the proxy sent no keepalives")
    await run.publish_and_wait("last")
    return YES if run.client.data() == ["first", "last"] else f"{len(run.client.events) - 2} empty events"


async def resume(run: Run) -> str:
    """The connection ends in the middle; what is published until the client is back arrives once."""
    await run.connect()
    run.relay.set_mode("hold")
    run.relay.cut(reset=False)
    missed = ["missed 1", "missed 2", "missed 3"]
    for text in missed:
        await run.proxy.publish(run.topic, text)
    run.relay.set_mode("pass")
    if not await run.back():
        return "stays away"
    await run.publish_and_wait("last")
    return _compare(run.client.data(), ["first", *missed, "last"])


def _compare(received: list[str], expected: list[str]) -> str:
    if received == expected:
        return YES
    if len(received) > len(set(received)):
        return "some events twice"
    return "comes back, without the events in between" if set(received) < set(expected) else f"has {received}"


async def retry(run: Run) -> str:
    """The client waits as long as the proxy says with an event, or at least half as long if it spreads its returns."""
    await run.connect()
    await run.proxy.publish(run.topic, "slower", retry=str(LONG_RETRY_MS))
    await run.client.until(lambda: "slower" in run.client.data(), seconds=SOON)
    requests = len(run.relay.requests)
    cut = run.relay.cut(reset=False)
    if not await run.relay.until(lambda: len(run.relay.requests) > requests, seconds=PATIENCE):
        return "stays away"
    waited = (run.relay.requests[-1].at - cut) * 1000
    return YES if waited >= LONG_RETRY_MS / 2 else "comes back sooner"


async def outage(run: Run) -> str:
    """Connections are reset at once for a while; after that the client is back, and nothing is missing."""
    await run.connect()
    run.relay.set_mode("reset")
    run.relay.cut(reset=True)
    resets = run.relay.resets
    # Browsers try a request that was reset many times within milliseconds; all of that is one attempt.
    await run.relay.until(lambda: bool(resets) and resets[-1] - resets[0] > RETRY_MS / 2000, seconds=PATIENCE)
    if not resets:
        return "stays away"
    await run.proxy.publish(run.topic, "missed")
    run.relay.set_mode("pass")
    if not await run.back():
        return "gives up"
    await run.publish_and_wait("last")
    return _compare(run.client.data(), ["first", "missed", "last"])


async def gap(run: Run) -> str:
    """More is published than history holds: the client is told of it, and has what is left."""
    first = await run.connect()
    run.relay.set_mode("hold")
    run.relay.cut(reset=True)
    # While the proxy takes it for connected, everything is kept for it.
    await run.proxy.forgets(run.topic)
    texts = [f"event {number}" for number in range(2 * HISTORY)]
    await run.proxy.publish_many(run.topic, texts)
    run.relay.set_mode("pass")
    if not await run.back():
        return "stays away"
    await run.publish_and_wait("last")
    gaps = run.client.named("revenprox-gap")
    if not gaps:
        return "comes back, without a word"
    told = [json.loads(event.data)["requested"] for event in gaps] == [first]
    left = run.client.data() == ["first", *texts[HISTORY:], "last"]
    return YES if told and left else f"has {gaps} and {run.client.data()}"


async def unauthorized(run: Run) -> str:
    """A token that is not valid: 401."""
    await run.start(token(subscribe=[run.topic], secret="a secret that the proxy does not know"))
    return await _refused(run, 401)


async def forbidden(run: Run) -> str:
    """A token for another topic: 403."""
    await run.start(token(subscribe=["another"]))
    return await _refused(run, 403)


async def _refused(run: Run, status: int) -> str:
    answered = lambda: any(request.status == status for request in run.relay.requests)
    if not await run.relay.until(answered, seconds=SOON):
        raise Failure(f"the request was not refused: {run.relay.requests}, {run.client.states}")
    again = await run.relay.until(lambda: len(run.relay.requests) > 1, seconds=QUIET)
    # A browser may ask again before what it told its user is known here.
    await run.client.until(run.client.failed, seconds=QUIET)
    return f"{_told(run.client, status)}, {'retries' if again else 'stops'}"


def _told(client: Client, status: int) -> str:
    """What the user of a client can know of the status it was refused with."""
    if client.status() == status:
        return "told"
    words = " ".join(str(state.get("message")) for state in client.states)
    if str(status) in words or HTTPStatus(status).phrase in words:
        return "told in words"
    return "no status" if client.failed() else "no error"


async def turned_away(run: Run) -> str:
    """The proxy has no room at first, and says so with `revenprox-retry`: the client comes back, and is let in.

    The client has its own proxy here, with room for one subscriber.
    """
    other = await run.proxy.subscribe("another")
    await run.start(token(subscribe=[run.topic]))
    if not await run.relay.until(lambda: any(request.status for request in run.relay.requests), seconds=SOON):
        raise Failure(f"there was no answer: {run.relay.requests}")
    other.close()
    if not await run.proxy.has_subscriber(run.topic, PATIENCE):
        return "stays away"
    await run.publish_and_wait("first")
    return YES if run.client.named("revenprox-retry") else "comes back, without a word"


async def drain(run: Run) -> str:
    """The proxy ends on SIGTERM, and another one takes its port: the client comes back, and is told that the history is new.

    The client has its own proxy here, and no relay.
    """
    await run.start(token(subscribe=[run.topic]), run.proxy.port)
    if not await run.proxy.has_subscriber(run.topic, SOON):
        raise Failure(f"no stream was opened: {run.client.states}")
    first = await run.publish_and_wait("first")
    await run.proxy.drain()
    await run.proxy.start()
    if not await run.proxy.has_subscriber(run.topic, PATIENCE):
        return "stays away"
    await run.publish_and_wait("last")
    if run.client.data() != ["first", "last"]:
        return f"has {run.client.data()}"
    gaps = [json.loads(event.data) for event in run.client.named("revenprox-gap")]
    if not gaps:
        return "comes back, without a word"
    return YES if [(gap["requested"], gap["reason"]) for gap in gaps] == [(first, "unknown")] else f"has {gaps}"


Scenario = Callable[[Run], Awaitable[str]]

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        connect,
        shapes,
        large,
        burst,
        keepalive,
        resume,
        retry,
        outage,
        gap,
        unauthorized,
        forbidden,
        turned_away,
        drain,
    )
}

# Scenarios with a proxy of their own, and its settings; all others share one.
OWN_PROXY = {
    "turned_away": {"retry_ms": RETRY_MS, "max_connections": 1},
    "drain": {"retry_ms": 2000},
}

BEST = {name: YES for name in SCENARIOS} | {"unauthorized": "told, stops", "forbidden": "told, stops"}
