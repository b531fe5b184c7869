"""What all adapters of Python's libraries share: the command line, reports, and the loop that some libraries leave to their user."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Before a server has named a time (WHATWG HTML, 9.2.2: "a few seconds" is left to the client).
FIRST_DELAY_SECONDS = 1.0


def arguments() -> tuple[str, dict[str, str]]:
    """The URL and the headers to send."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--types")
    parser.add_argument("--token")
    given = parser.parse_args()
    return given.url, {"Authorization": f"Bearer {given.token}"} if given.token else {}


def report(kind: str, **more: object) -> None:
    # One write for the whole line: threads report too.
    sys.stdout.write(json.dumps({"type": kind} | more) + "\n")
    sys.stdout.flush()


def report_event(id: str | None, event: str | None, data: str) -> None:
    report("event", id=id, event=event, data=data)


class Refused(Exception):
    """The server answered with a status that the same request would get again."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@dataclass
class Received:
    """One event, in the words that the libraries for reading a response have in common."""

    id: str | None
    event: str | None
    data: str
    retry: int | None


def read_again_and_again(read: Callable[[dict[str, str]], Iterator[Received]], lost: tuple[type[Exception], ...]) -> None:
    """Reads one response after the other, as the user of a library has to that reads only one.

    `read` makes the request with the headers that it is given; `lost` are the errors of a connection that broke or was
    not made.
    """
    headers: dict[str, str] = {}
    delay = FIRST_DELAY_SECONDS
    while True:
        try:
            for received in read(headers):
                if received.id:
                    headers["Last-Event-ID"] = received.id
                if received.retry is not None:
                    delay = int(received.retry) / 1000
                report_event(received.id, received.event, received.data)
            report("error", message="the stream has ended")
        except Refused as refused:
            report("error", status=refused.status)
            sys.exit(1)
        except lost as error:
            report("error", message=str(error))
        time.sleep(delay)
