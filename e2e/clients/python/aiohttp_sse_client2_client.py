"""PyPI aiohttp-sse-client2: an asynchronous iterator that reconnects by itself."""

import asyncio

from adapter import arguments, report, report_event
from aiohttp import ClientSession, ClientTimeout
from aiohttp_sse_client2 import client as sse_client

URL, HEADERS = arguments()


async def main() -> None:
    # Without this, aiohttp ends every response after five minutes.
    async with ClientSession(timeout=ClientTimeout(total=None)) as session:
        source = sse_client.EventSource(
            URL,
            session=session,
            headers=dict(HEADERS),
            on_open=lambda: report("open"),
            on_error=lambda: report("error"),
        )
        try:
            async with source:
                async for event in source:
                    report_event(event.last_event_id, event.type, event.data)
        except Exception as error:
            report("closed", message=repr(error))


asyncio.run(main())
