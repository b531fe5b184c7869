#!/usr/bin/env python3
"""Publishes events over NNG: publish.py ADDRESS TOPIC DATA...

Needs pynng (`pip install pynng`). The token, if one is needed, is taken from the environment variable TOKEN.
"""

import json
import os
import sys

import pynng


def publish(address: str, events: list[dict], token: str = "", timeout_ms: int = 5000) -> tuple[int, list[dict]]:
    """Sends a batch and returns the status and a result for each event."""
    lines = [token] + [json.dumps(event) for event in events]
    with pynng.Req0(dial=address, send_timeout=timeout_ms, recv_timeout=timeout_ms) as socket:
        socket.send("\n".join(lines).encode())
        status, _, results = socket.recv().decode().partition("\n")
    return int(status), [json.loads(line) for line in results.splitlines() if line]


def main() -> int:
    address, topic, *data = sys.argv[1:]
    status, results = publish(address, [{"topic": topic, "data": text} for text in data], os.environ.get("TOKEN", ""))
    for result in results:
        print(json.dumps(result))
    return 0 if status == 202 else 1


if __name__ == "__main__":
    sys.exit(main())
