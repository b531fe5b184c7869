"""Publishes one event: publish.py TOPIC DATA"""

import json
import os
import sys
import urllib.request
import uuid
from urllib.parse import quote


def publish(topic: str, data: str, event: str = "order") -> str:
    """Publishes an event and gives back its id; anything but 202 is an exception."""
    base = os.environ.get("REVENPROX_URL", "http://localhost:8080")
    request = urllib.request.Request(
        f"{base}/events/{quote(topic, safe='')}?event={quote(event)}",
        data=data.encode(),
        headers={
            "Authorization": f"Bearer {os.environ.get('REVENPROX_TOKEN', '')}",
            # With the same key a second attempt is not a second event.
            "Idempotency-Key": os.environ.get("IDEMPOTENCY_KEY") or str(uuid.uuid4()),
            "Content-Type": "text/plain; charset=utf-8",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["id"]


print(publish(sys.argv[1], sys.argv[2]))
