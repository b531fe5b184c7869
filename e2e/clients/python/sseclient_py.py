"""PyPI sseclient-py: makes events of one response of requests. The loop around it is this adapter's."""

from collections.abc import Iterator

import requests
import sseclient
from adapter import Received, Refused, arguments, read_again_and_again, report

URL, HEADERS = arguments()


def read(headers: dict[str, str]) -> Iterator[Received]:
    response = requests.get(URL, stream=True, headers=HEADERS | headers | {"Accept": "text/event-stream"}, timeout=(5, 60))
    if response.status_code != 200:
        raise Refused(response.status_code)
    report("open")
    for event in sseclient.SSEClient(response).events():
        yield Received(event.id, event.event, event.data, event.retry)


read_again_and_again(read, (requests.RequestException,))
