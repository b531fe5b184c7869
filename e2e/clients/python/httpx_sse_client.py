"""PyPI httpx-sse: makes events of one response of httpx. The loop around it is this adapter's, after the README's."""

from collections.abc import Iterator

import httpx
from adapter import Received, Refused, arguments, read_again_and_again, report
from httpx_sse import connect_sse

URL, HEADERS = arguments()
CLIENT = httpx.Client(timeout=httpx.Timeout(5, read=60))


def read(headers: dict[str, str]) -> Iterator[Received]:
    with connect_sse(CLIENT, "GET", URL, headers=HEADERS | headers) as source:
        if source.response.status_code != 200:
            raise Refused(source.response.status_code)
        report("open")
        for event in source.iter_sse():
            yield Received(event.id, event.event, event.data, event.retry)


read_again_and_again(read, (httpx.TransportError,))
