"""Everything that the data of an event can be made of.

Each entry is published as the body of a request and is what a client has to hand to its user; line ends become LF on
the way, as the format has no other (WHATWG HTML, 9.2.6).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """One kind of event."""

    name: str
    published: str
    received: str
    event: str = "message"


def _same(name: str, text: str) -> Shape:
    return Shape(name, text, text)


SHAPES = (
    _same("plain text", "plain"),
    _same("empty data", ""),
    Shape("LF", "one\ntwo\nthree", "one\ntwo\nthree"),
    Shape("CR", "one\rtwo", "one\ntwo"),
    Shape("CRLF", "one\r\ntwo", "one\ntwo"),
    _same("empty lines inside", "one\n\n\ntwo"),
    _same("empty line at the end", "one\n"),
    _same("empty line at the start", "\none"),
    _same("leading space", " one\n  two"),
    _same("spaces only", "   "),
    _same("trailing space", "one \ntwo\t"),
    _same("colons", ":one\ntwo: three\ndata: four\nid: five"),
    _same("JSON", '{"text": "a\\nb", "list": [1, 2.5, null]}'),
    _same("non-ASCII", "Grüße aus Ελλάδα и из Москвы, 日本語"),
    _same("emoji", "👍🏽 👩‍👩‍👧 🏳️‍🌈"),
    _same("other line separators", "a\u2028b\u2029c\u0085d\u000be\u000cf"),
    _same("NUL", "a\0b"),
    Shape("named event", "with a name", "with a name", event="named"),
)

# 64 KiB in one line: what fixed buffers of clients hold at most.
LARGE = "0123456789abcdef" * 4096

BURST = [f"event {number} of many" for number in range(500)]
