"""curl: it prints the stream and nothing else, so the events are made of its lines here, and the loop is this adapter's.

Its `--retry` would repeat the same request, without the id of the last event, and print what came before again.
"""

import subprocess
from collections.abc import Iterator

from adapter import Received, Refused, arguments, read_again_and_again, report

URL, HEADERS = arguments()
COMMAND = ["curl", "--silent", "--show-error", "--no-buffer", "--write-out", "%{stderr}status %{http_code}", "--fail"]


class Lost(Exception):
    """curl ended before the stream did."""


def read(headers: dict[str, str]) -> Iterator[Received]:
    options = [f"-H{name}: {value}" for name, value in (HEADERS | headers | {"Accept": "text/event-stream"}).items()]
    process = subprocess.Popen([*COMMAND, *options, URL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    yield from events(line.decode().rstrip("\n") for line in process.stdout)
    words = process.stderr.read().decode()
    code = process.wait()
    # 22: the server answered with an error, and --fail lets curl say so.
    if code == 22:
        raise Refused(int(words.rpartition("status ")[2]))
    if code != 0:
        raise Lost(words)


def events(lines: Iterator[str]) -> Iterator[Received]:
    """Makes events of lines (WHATWG HTML, 9.2.6); the proxy ends lines with LF only."""
    fields: dict[str, str] = {}
    data: list[str] = []
    last_id = None
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data:
                yield Received(last_id, fields.get("event"), "\n".join(data), fields.get("retry"))
            fields, data = {}, []
        elif name == "data":
            data.append(value)
        elif name:
            fields[name] = value
            last_id = fields.get("id", last_id)


report("open")
read_again_and_again(read, (Lost,))
