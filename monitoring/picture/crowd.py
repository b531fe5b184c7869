"""Ordinary load in waves: subscribers that come, stay for a while and leave, and a publisher at each instance."""

import http.client
import math
import random
import threading
import time

from load import Publisher, Subscribers

# Loopback addresses that subscribers come from, so that none reaches the limit on how often one may connect.
ADDRESSES = [f"127.0.0.{number}" for number in range(10, 30)]
TOPICS = 12
# How long one wave takes, and how often the number of subscribers is looked at.
WAVE_SEC, LOOK_SEC = 70, 0.5


class Crowd:
    """Runs until it is closed, and for `seconds` at most. An instance that is away is tried again and again."""

    def __init__(self, proxies, seconds):
        self._proxies = proxies
        self._subscribers = Subscribers()
        self._start = time.monotonic()
        self._end = self._start + seconds
        self._stop = threading.Event()
        # The load is the same each time.
        self._random = random.Random(1)
        targets = [(self._publish, (proxy, index)) for index, proxy in enumerate(proxies)] + [(self._come_and_go, ())]
        self._threads = [threading.Thread(target=target, args=arguments, daemon=True) for target, arguments in targets]
        for thread in self._threads:
            thread.start()

    def close(self):
        """Ends the load."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._subscribers.close()

    def _goes_on(self):
        return not self._stop.is_set() and time.monotonic() < self._end

    def _wave(self, shift=0.0):
        """Between 0 and 1, up and down."""
        return 0.5 + 0.5 * math.sin(2 * math.pi * ((time.monotonic() - self._start) / WAVE_SEC + shift))

    def _publish(self, proxy, index):
        """30 to 100 events a second at one instance, most of them of a few topics."""
        publisher = Publisher(proxy)
        while self._goes_on():
            topic = int(TOPICS * self._random.random() ** 2)
            try:
                publisher.one(f"orders-{topic}", "x" * self._random.randint(100, 1500))
                pause = 1 / (30 + 70 * self._wave(index / 10))
            except (OSError, http.client.HTTPException):
                publisher.close()
                publisher, pause = Publisher(proxy), 0.5
            self._stop.wait(pause)
        publisher.close()

    def _come_and_go(self):
        """90 to 180 subscribers; a few leave each second, and others come."""
        streams = []
        while self._goes_on():
            streams = [stream for stream in streams if stream.fileno() != -1]
            wanted = int(90 + 90 * self._wave())
            for _ in range(min(2, len(streams)) + max(0, len(streams) - wanted)):
                self._subscribers.leave(streams.pop(self._random.randrange(len(streams))))
            # Not all at once, so that those of an instance that has ended come back as a wave.
            for _ in range(min(20, wanted - len(streams))):
                topic = f"orders-{self._random.randrange(TOPICS)}"
                try:
                    streams.append(self._subscribers.add(self._random.choice(self._proxies), topic, address=self._random.choice(ADDRESSES)))
                except OSError:
                    continue
            self._stop.wait(LOOK_SEC)
