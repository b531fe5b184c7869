#!/usr/bin/env python3
"""Runs the example webhooks, in Python, Node.js and Go, with a proxy that asks them, and as somebody else who asks them."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pages
import ports
from running import Program, Proxy, Stream, request, wait_until
from tokens import cache

EXAMPLES = pages.GUIDE / "examples" / "webhook"
TOKEN_SECRET, HOOK_SECRET = "the secret of the users' tokens, long", "the secret of the calls, long enough"
LANGUAGES = [
    ("Python", [], ["python3", "webhook.py"]),
    ("Node.js", [], ["node", "webhook.mjs"]),
    ("Go", ["go", "build", "-o", "{cache}/webhook-go", "webhook.go"], ["{cache}/webhook-go"]),
]


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token(sub: str, seconds: int = 600, secret: str = TOKEN_SECRET, algorithm: str = "HS256", **claims) -> str:
    """A token such as a login service signs it; made here and not by the proxy, so that it can be wrong in every way."""
    head = encoded(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    payload = encoded(json.dumps({"sub": sub, "exp": int(time.time()) + seconds, **claims}).encode())
    return f"{head}.{payload}.{encoded(hmac.new(secret.encode(), f'{head}.{payload}'.encode(), hashlib.sha256).digest())}"


def call(port: int, timestamp: int | None, secret: str, body: bytes) -> int:
    """Calls the webhook itself; the status of its answer."""
    headers = {"Content-Type": "application/json"}
    if timestamp is not None:
        signature = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
        headers |= {"X-RevenProx-Timestamp": str(timestamp), "X-RevenProx-Signature": f"v1={signature}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/verify", body, headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def check_calls(port: int) -> None:
    """The webhook answers the proxy and nobody else."""
    body, now = json.dumps({"jwt": token("alice"), "topic": "0" * 32}).encode(), int(time.time())
    for what, timestamp, secret, expected in [
        ("signed", now, HOOK_SECRET, 200),
        ("not signed", None, HOOK_SECRET, 401),
        ("signed with another secret", now, "x" * 32, 401),
        ("signed ten minutes ago", now - 600, HOOK_SECRET, 401),
    ]:
        status = call(port, timestamp, secret, body)
        assert status == expected, f"a call that is {what} is answered with {status}, not {expected}"


def subscribe(proxy: Proxy, topic: str, bearer: str) -> int:
    with Stream(proxy.port, f"/events/{topic}", {"Authorization": f"Bearer {bearer}", "Accept": "text/event-stream"}) as stream:
        return stream.status


def check_verdicts(proxy: Proxy) -> None:
    """What each token may do at the proxy."""
    alice, backend = token("alice"), token("shop", role="backend")
    for what, bearer, topic, expected in [
        ("the own topic", alice, "user-alice-inbox", 200),
        ("a topic of all", alice, "news", 200),
        ("another's topic", alice, "user-bob-inbox", 403),
        ("the own topic, expired", token("alice", -5), "user-alice-inbox", 401),
        ("the own topic, another key", token("alice", secret="y" * 32), "user-alice-inbox", 401),
        ("the own topic, another algorithm", token("alice", algorithm="HS512"), "user-alice-inbox", 401),
    ]:
        status = subscribe(proxy, topic, bearer)
        assert status == expected, f"{what}: {status}, not {expected}"
    with Stream(proxy.port, "/events/user-alice-inbox", {"Authorization": f"Bearer {alice}"}) as stream:
        status, answer = proxy.publish("user-alice-inbox", "from alice", Authorization=f"Bearer {alice}")
        assert status == 403, f"a user may publish: {status} {answer}"
        status, answer = proxy.publish("user-alice-inbox", "from the shop", Authorization=f"Bearer {backend}")
        assert status == 202, f"the back end may not publish: {status} {answer}"
        stream.wait_for("from the shop")
        assert stream.data() == ["from the shop"], stream.data()


def check(language: str, build: list[str], command: list[str], folder: Path) -> None:
    place = str(cache("examples"))
    if build:
        subprocess.run([part.replace("{cache}", place) for part in build], cwd=EXAMPLES, check=True)
    port = ports.free()
    environment = {"PORT": str(port), "TOKEN_SECRET": TOKEN_SECRET, "HOOK_SECRET": HOOK_SECRET}
    config = f'[jwt_verifier]\nwebhook_url = "http://127.0.0.1:{port}/verify"\nhmac_secret = "{HOOK_SECRET}"\nretry_attempts = 0\n'
    with Program([part.replace("{cache}", place) for part in command], folder / f"{language}.log", environment, EXAMPLES) as webhook:
        wait_until(lambda: answers(port), f"the webhook answers; it says {webhook.text()}")
        check_calls(port)
        with Proxy(folder, config) as proxy:
            check_verdicts(proxy)


def answers(port: int) -> bool:
    try:
        return request(port, "POST", "/verify", "{}")[0] == 401
    except OSError:
        return False


def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        for language, build, command in LANGUAGES:
            try:
                check(language, build, command, Path(name))
                print(f"webhook: {language}: ok", flush=True)
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                failed += 1
                print(f"webhook: {language}: {error}", flush=True)
    print(f"webhook: {len(LANGUAGES) - failed} of {len(LANGUAGES)} languages")
    return 1 if failed or not os.path.isdir(EXAMPLES) else 0


if __name__ == "__main__":
    sys.exit(main())
