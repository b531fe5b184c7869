"""What happens to the mesh while Prometheus looks: ordinary load, and one after the other everything that a panel shows."""

import json
import os
import signal
import threading
import time
import urllib.request

import mesh
from load import IMPATIENT, Publisher, Subscribers, steady
from processes import wait_for


class Scenario:
    """Runs the load and lets things go wrong in turn. What should not fail and did is in `failures`."""

    def __init__(self, processes, proxies, issuer):
        self.processes, self.proxies, self.issuer = processes, proxies, issuer
        self.failures = []
        self._subscribers = Subscribers()
        self._publishers = []
        self._stop = threading.Event()
        self._load = threading.Thread(target=steady, args=(proxies, self._stop, self.failures), daemon=True)

    def run(self):
        """Everything, in about half a minute."""
        for number in range(60):
            self._subscribers.add(self.proxies[number % 3], f"topic-{number % 10}")
        self._load.start()
        for step in (
            self._slow_consumers,
            self._comings_and_goings,
            self._resumes_elsewhere,
            self._refusals,
            self._webhook,
            self._administration,
            self._a_stranger,
            self._one_stands_still,
            self._nobody_answers,
            self._memory_is_short,
        ):
            step()
            self.processes.must_run()
        self._drain()
        if self._subscribers.bytes == 0:
            self.failures.append("subscribers received nothing")

    def close(self):
        """Ends the load."""
        self._stop.set()
        if self._load.is_alive():
            self._load.join()
        self._subscribers.close()
        for publisher in self._publishers:
            publisher.close()

    def _publisher(self, proxy):
        # A new connection for each step: the proxy closes those that are silent for long.
        self._publishers.append(Publisher(proxy))
        return self._publishers[-1]

    def _until(self, what, condition):
        """Waits until a metric tells that something has happened, and for a scrape after that."""
        wait_for(what, condition)
        time.sleep(1.5)

    def _slow_consumers(self):
        """Streams that nobody reads, of a topic with large events: they fall behind, and lose what is too old."""
        one = self.proxies[0]
        for _ in range(3):
            self._subscribers.add(one, "large", idle=True)
        publisher = self._publisher(one)
        for _ in range(150):
            publisher.one("large", "x" * 100_000)
        self._until("slow subscribers to lose events", lambda: one.metric("revenprox_messages_dropped_total") > 0)
        # Where the policy is to wait for them, publishers wait.
        two = self.proxies[1]
        self._subscribers.add(two, "stuck", idle=True)
        publisher = self._publisher(two)
        for _ in range(150):
            publisher.one("stuck", "x" * 100_000)
        # Far more topics than the history has room for.
        for number in range(40):
            self._publisher(one).batch(f"bulk-{number}", 20, 10_000)
        self._until("history to be given up early", lambda: one.metric("revenprox_history_evicted_bytes_total") > 0)

    def _comings_and_goings(self):
        """Subscribers that leave, publishes with a key, in batches and with an acknowledgement."""
        for number in range(30):
            self._subscribers.leave(self._subscribers.add(self.proxies[number % 3], "topic-0"))
        publisher = self._publisher(self.proxies[1])
        for key in range(5):
            self._expect(202, publisher.one("topic-1", "once", Idempotency_Key=f"key-{key}"))
        self._expect(202, publisher.one("topic-1", "kept", "?ack=replicated"))
        self._expect(202, publisher.batch("topic-2", 200, 100))

    def _resumes_elsewhere(self):
        """An instance that does not keep a topic has to ask others for it."""
        publisher = self._publisher(self.proxies[0])
        for number in range(8):
            _, answer = publisher.one(f"resume-{number}", "first", "?ack=replicated")
            self._expect(202, publisher.one(f"resume-{number}", "second", "?ack=replicated"))
            for proxy in self.proxies:
                self._subscribers.add(proxy, f"resume-{number}", last_event_id=json.loads(answer)["id"])
        total = lambda: sum(proxy.metric("revenprox_history_fetches_total") for proxy in self.proxies)
        self._until("a fetch of history", lambda: total() > 0)

    def _refusals(self):
        """Tokens that are no good, and a client that is in a hurry."""
        three = self.proxies[2]
        publisher = self._publisher(three)
        self._expect(401, publisher.one("topic-0", "x", bearer=mesh.token(secret="another secret, as long as the one before")))
        self._expect(401, publisher.one("topic-0", "x", bearer=mesh.token(ttl=-3600)))
        self._expect(403, publisher.one("topic-0", "x", bearer=mesh.token(revenprox={"subscribe": ["*"]})))
        for _ in range(mesh.RATE_LIMIT + 30):
            stream = self._subscribers.add(three, "topic-0", idle=True, address=IMPATIENT)
            stream.recv(1)
            self._subscribers.leave(stream)
        self._until("the rate limit", lambda: three.metric("revenprox_connections_rejected_total") > 0)

    def _webhook(self):
        """A webhook that verifies, then fails until the breaker opens."""
        two = self.proxies[1]
        unknown = [mesh.token(secret="x" * 32, kid=f"key-{number}") for number in range(12)]
        # Who comes while a call is under way shares it; who comes later finds the verdict.
        for _ in range(2):
            for bearer in unknown[:4] * 3:
                self._subscribers.add(two, "topic-3", bearer)
            wait_for("verdicts", lambda: two.metric("revenprox_auth_cache_entries") >= 4)
        self._until("verdicts to be remembered", lambda: two.metric("revenprox_auth_cache_hits_total") > 0)
        self.issuer.fails = True
        publisher = self._publisher(two)
        for bearer in unknown[4:]:
            self._expect(503, publisher.one("topic-3", "x", bearer=bearer))
        self._until("the breaker to open", lambda: two.metric("revenprox_circuit_breaker_state") > 0)
        # Until a fetch of the key set, every ten seconds, has failed too.
        self._until("a fetch of keys to fail", lambda: two.metric("revenprox_auth_jwks_refresh_failures_total") > 0)
        self.issuer.fails = False

    def _administration(self):
        """A revocation, and a configuration with a mistake that is corrected."""
        one = self.proxies[0]
        body = json.dumps({"jti": "stolen"}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{one.admin}/admin/revoke", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            if answer.status != 200:
                self.failures.append(f"a revocation was answered with {answer.status}")
        good = one.config.read_text()
        self._configure(one, good + "\n[nonsense]\n")
        self._configure(one, good.replace("max_message_queue_size = 50", "max_message_queue_size = 60"))

    def _configure(self, proxy, text):
        """Gives an instance another configuration and waits until it has looked at it."""
        before = proxy.metric("revenprox_config_reloads_total")
        proxy.config.write_text(text)
        proxy.process.send_signal(signal.SIGHUP)
        self._until("the configuration to be read", lambda: proxy.metric("revenprox_config_reloads_total") > before)

    def _a_stranger(self):
        """Somebody without the key who wants to join."""
        stranger = mesh.start_stranger(self.processes, self.proxies)
        self._until("the stranger to be refused", lambda: self.proxies[0].metric("revenprox_mesh_refused_total") > 0)
        self.processes.stop(stranger)

    def _one_stands_still(self):
        """An instance that is stopped: the others queue for it, drop, miss it, and have it back."""
        one, three = self.proxies[0], self.proxies[2]
        os.kill(three.process.pid, signal.SIGSTOP)
        try:
            # The load goes round all instances; it would wait for this one.
            publisher = self._publisher(one)
            # More than may be on its way unacknowledged, and wait behind that. Small, so that it is done before the peer is missed.
            for _ in range(60):
                self._expect(202, publisher.batch("topic-2", 300, 300))
                if one.metric("revenprox_mesh_events_dropped_total") > 0:
                    break
            self._until("events for it to be dropped", lambda: one.metric("revenprox_mesh_events_dropped_total") > 0)
            self._until("it to be missed", lambda: one.metric("revenprox_peers_connected") < 2)
        finally:
            os.kill(three.process.pid, signal.SIGCONT)
        self._until("it to be back", lambda: all(proxy.metric("revenprox_peers_connected") == 2 for proxy in self.proxies))

    def _nobody_answers(self):
        """A subscriber that comes back while those who keep its topic do not answer."""
        one, two, three = self.proxies
        publisher = self._publisher(two)
        ids = {}
        # So many that some are kept by neither of the two alone with this one.
        for number in range(24):
            ids[f"kept-{number}"] = json.loads(publisher.one(f"kept-{number}", "first", "?ack=replicated")[1])["id"]
            publisher.one(f"kept-{number}", "second", "?ack=replicated")
        stopped = [two.process.pid, three.process.pid]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            for topic, last in ids.items():
                self._subscribers.add(one, topic, last_event_id=last)
            self._until("a fetch to fail", lambda: one.metric("revenprox_history_fetches_failed_total") > 0)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        self._until("them to be back", lambda: all(proxy.metric("revenprox_peers_connected") == 2 for proxy in self.proxies))

    def _memory_is_short(self):
        """Less memory is allowed than is used."""
        one = self.proxies[0]
        good = one.config.read_text()
        self._configure(one, good + "\n[limits]\nmax_memory_mb = 5\n")
        self._until("the ceiling", lambda: one.metric("revenprox_ceiling_reached") > 0)
        self._configure(one, good)

    def _drain(self):
        """The last thing: an instance drains while the others go on."""
        three = self.proxies[2]
        self._stop.set()
        self._load.join()
        three.process.send_signal(signal.SIGTERM)
        three.process.wait(timeout=30)

    def _expect(self, status, answered):
        if answered[0] != status:
            self.failures.append(f"{status} was expected, and the answer is {answered[0]}: {answered[1][:200]}")
