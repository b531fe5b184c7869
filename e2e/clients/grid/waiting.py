"""Waits on conditions instead of sleeping."""

import asyncio
from collections.abc import Callable


class Waiting:
    """Something that changes, and that tasks wait for."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future] = set()

    def changed(self) -> None:
        """Wakes all who wait, to look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool], *, seconds: float) -> bool:
        """Waits until the condition holds; false if it did not within the time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            left = deadline - asyncio.get_running_loop().time()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await asyncio.wait_for(waiter, max(left, 0))
            except TimeoutError:
                return condition()
            finally:
                self._waiters.discard(waiter)
        return True
