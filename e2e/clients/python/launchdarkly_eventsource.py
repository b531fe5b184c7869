"""PyPI launchdarkly-eventsource: an iterator that reconnects by itself if its strategy for errors says so."""

from adapter import arguments, report, report_event
from ld_eventsource import SSEClient
from ld_eventsource.actions import Event, Fault, Start
from ld_eventsource.config import ConnectStrategy, ErrorStrategy

URL, HEADERS = arguments()

client = SSEClient(ConnectStrategy.http(URL, headers=HEADERS), error_strategy=ErrorStrategy.always_continue())
for action in client.all:
    if isinstance(action, Event):
        report_event(action.last_event_id, action.event, action.data)
    elif isinstance(action, Start):
        report("open")
    elif isinstance(action, Fault):
        report("error", status=getattr(action.error, "status", None), message=repr(action.error))
