"""What schemathesis has to be told about this interface, and the checks of ours that it runs with its own."""

import json
import os
import re

import schemathesis

# The proxy's own events and the keys that their data may have.
OWN_EVENTS = {
    "revenprox-gap": {"topic", "reason", "requested", "oldest", "dropped"},
    "revenprox-retry": {"reason", "detail"},
}
# What a line of a stream looks like: nothing else may be there.
ID = r"\d{1,15}-\d{3,7}-[0-9a-f]{8}(-[0-9a-f]{8})?"
LINE = re.compile(rf"retry: \d{{1,10}}|id: {ID}|event: .+|data: .*|: keepalive|", re.DOTALL)
# How many topics one connection may subscribe to.
TOPICS_MAX = 100
# Parameters of a publish that may stand in a header and in the query, where they win.
IN_BOTH = {"RevenProx-Event": "event", "RevenProx-Retry": "retry", "RevenProx-Ack": "ack"}


# --- NDJSON, which OpenAPI 3.1 cannot describe: the file describes it as an array of its lines.


@schemathesis.serializer("application/x-ndjson")
def lines_of(_context, value):
    if isinstance(value, bytes):
        return {"data": value}
    items = value if isinstance(value, list) else [value]
    return {"data": b"".join(json.dumps(item).encode() + b"\n" for item in items)}


@schemathesis.deserializer("application/x-ndjson")
def array_of(_context, response):
    return [json.loads(line) for line in response.text.splitlines()]


# --- Limits that JSON Schema counts in characters and the proxy in bytes.


def fits(text):
    return not isinstance(text, str) or len(text.encode(errors="surrogatepass")) <= 255


@schemathesis.hook
def filter_path_parameters(_context, path_parameters):
    return fits((path_parameters or {}).get("topic"))


@schemathesis.hook
def filter_query(_context, query):
    topics = (query or {}).get("topic")
    texts = [*(topics if isinstance(topics, list) else [topics]), (query or {}).get("event")]
    return all(fits(text) for text in texts)


@schemathesis.hook
def filter_headers(_context, headers):
    return fits((headers or {}).get("RevenProx-Event"))


@schemathesis.hook
def filter_body(_context, body):
    items = [item for item in (body if isinstance(body, list) else [body]) if isinstance(item, dict)]
    return all(fits(item.get(key)) for item in items for key in ("topic", "event", "sub", "jti", "kid"))


@schemathesis.hook
def map_body(_context, body):
    """JSON Schema counts 5.0 as an integer; the proxy, as its file says, takes integers without a fraction only."""
    items = [item for item in (body if isinstance(body, list) else [body]) if isinstance(item, dict)]
    for item in items:
        for key in ("retry", "expires_in_seconds"):
            if isinstance(item.get(key), float) and item[key].is_integer():
                item[key] = int(item[key])
    return body


# --- What is no failure.


@schemathesis.hook
def filter_failure(_context, failure, case, _response):
    """A header that loses against the query is passed over, so it may be anything; and a topic that is named twice counts once."""
    if failure.title != "Schema-violating request accepted":
        return True
    query = case.query or {}
    shadowed = any(f"`{header}` in header" in failure.message for header, name in IN_BOTH.items() if name in query)
    topics = query.get("topic")
    repeated = "maxItems" in failure.message and isinstance(topics, list) and len(set(map(str, topics))) <= TOPICS_MAX
    return not shadowed and not repeated


# --- Checks of ours.


@schemathesis.check
def stream_is_well_formed(_context, response, case):
    """Every line of a stream is one of those that the file describes, and it begins as it says."""
    if response.status_code != 200 or not response.headers.get("content-type", [""])[0].startswith("text/event-stream"):
        return
    if case.method == "HEAD":
        assert response.content == b"", "the answer to HEAD has a body"
        return
    text = response.content.decode()
    if text:
        assert text.startswith(("retry: ", "event: revenprox-retry\n")), f"the stream begins with {text[:40]!r}"
    for block in text.split("\n\n"):
        lines = block.split("\n")
        for line in lines:
            assert LINE.fullmatch(line), f"no field of a stream: {line!r}"
        fields = dict(line.split(": ", 1) for line in lines if line and not line.startswith(":"))
        if fields.get("event", "").startswith("revenprox-"):
            data = json.loads(fields["data"])
            assert set(data) <= OWN_EVENTS[fields["event"]], f"unknown data of {fields['event']}: {data}"


@schemathesis.check
def nothing_is_granted(_context, response, case):
    """With a token that is good for no topic, nothing about a topic is answered. For the run with such a token only."""
    if os.environ.get("EXPECT") != "forbidden" or case.method == "OPTIONS":
        return
    if response.status_code == 207:
        results = [json.loads(line) for line in response.text.splitlines()]
        assert all("id" not in result for result in results), f"published without permission: {results}"
    else:
        assert response.status_code >= 400, f"{response.status_code} without permission"


@schemathesis.check
def drained_turns_away(_context, response, case):
    """A proxy that drains sends every subscriber away. For the run against such a one only."""
    if os.environ.get("EXPECT") != "draining":
        return
    if response.status_code == 200:
        assert case.method == "GET" and b"event: revenprox-retry\nretry: " in response.content, "served while draining"
    else:
        assert response.status_code >= 400, f"{response.status_code} while draining"


@schemathesis.check
def clients_have_no_page(_context, response, case):
    """What an operator has not asked for is not there for clients. For the run against their listener only."""
    if os.environ.get("EXPECT") == "no page":
        assert response.status_code == 404, f"{response.status_code} for {case.method} of the page"
