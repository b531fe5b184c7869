"""Subscribers and publishers: what makes the metrics of a mesh move. Everything is bounded in number and time."""

import http.client
import json
import selectors
import socket
import threading
import time

from mesh import token

# Where clients come from: each address has a rate limit of its own.
CROWD, IMPATIENT = "127.0.0.2", "127.0.0.3"


class Subscribers:
    """Open streams, read by one thread. Those that are `idle` are never read: slow consumers."""

    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._sockets = []
        self._is_open = True
        self.bytes = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def add(self, proxy, topic, bearer=None, last_event_id=None, idle=False, address=CROWD):
        """Subscribes; without a token of its own, with one that may everything."""
        stream = socket.socket()
        if idle:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.bind((address, 0))
        stream.connect(("127.0.0.1", proxy.http))
        lines = [f"GET /events/{topic} HTTP/1.1", "Host: test", "Accept: text/event-stream"]
        lines.append(f"Authorization: Bearer {bearer or token()}")
        if last_event_id:
            lines.append(f"Last-Event-ID: {last_event_id}")
        stream.sendall("\r\n".join([*lines, "", ""]).encode())
        with self._lock:
            self._sockets.append(stream)
            if not idle:
                stream.setblocking(False)
                self._selector.register(stream, selectors.EVENT_READ)
        return stream

    def _read(self):
        while self._is_open:
            with self._lock:
                ready = [key.fileobj for key, _ in self._selector.select(timeout=0.02)]
            for stream in ready:
                try:
                    data = stream.recv(1 << 16)
                except OSError:
                    data = b""
                self.bytes += len(data)
                if not data:
                    self.leave(stream)
            time.sleep(0.005)

    def leave(self, stream):
        """Ends one stream, if it has not ended yet."""
        with self._lock:
            if stream in self._sockets:
                self._sockets.remove(stream)
                if stream in self._selector.get_map():
                    self._selector.unregister(stream)
                stream.close()

    def close(self):
        """Ends all of them."""
        self._is_open = False
        self._thread.join()
        for stream in list(self._sockets):
            self.leave(stream)


class Publisher:
    """Publishes at one instance, over one connection."""

    def __init__(self, proxy):
        self._connection = http.client.HTTPConnection("127.0.0.1", proxy.http, timeout=60)
        self._bearer = token()

    def one(self, topic, data, query="", bearer=None, **headers):
        """Publishes an event; returns the status and the answer."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._post(f"/events/{topic}{query}", data, bearer, headers)

    def batch(self, topic, count, size):
        """Publishes many events of one topic in one request."""
        line = json.dumps({"topic": topic, "data": "x" * size}) + "\n"
        return self._post("/events", line * count, None, {"Content-Type": "application/x-ndjson"})

    def close(self):
        """Ends the connection."""
        self._connection.close()

    def _post(self, path, body, bearer, headers):
        headers = {"Authorization": f"Bearer {bearer or self._bearer}"} | headers
        self._connection.request("POST", path, body, headers)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 300:
            # A request that is refused before its body has been read ends the connection; the next one begins another.
            self._connection.close()
        return answer.status, text


def steady(proxies, stop, failures):
    """Publishes about a hundred events a second, to ten topics at all instances in turn, until `stop` is set. Runs for two minutes at most."""
    publishers = [Publisher(proxy) for proxy in proxies]
    end = time.monotonic() + 120
    number = 0
    while not stop.is_set() and time.monotonic() < end:
        status, answer = publishers[number % len(publishers)].one(f"topic-{number % 10}", f"event {number}")
        if status != 202:
            failures.append(f"a publish was answered with {status}: {answer}")
        number += 1
        time.sleep(0.01)
    for publisher in publishers:
        publisher.close()
