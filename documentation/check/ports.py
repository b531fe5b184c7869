"""Free ports, below those that the system hands out by itself."""

import random
import socket
import threading

_taken: set[int] = set()
_lock = threading.Lock()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def free(count: int = 1) -> int:
    """The first of so many free ports in a row, begun at a multiple of ten; no two callers of a process get the same."""
    with _lock:
        for _ in range(1000):
            base = random.randrange(2000, 3200) * 10
            row = range(base, base + count)
            if not _taken.intersection(row) and all(_is_free(port) for port in row):
                _taken.update(row)
                return base
    raise RuntimeError("no free ports found")
