"""Proxies that ask for tokens, and tokens for them."""

import subprocess
from pathlib import Path

from running import proxy_program

SECRET = "a secret for tests of the examples only"
LOCAL_KEYS = f"""
[auth]
order = ["local"]
[[auth.keys]]
algorithm = "HS256"
secret = "{SECRET}"
"""


def token(*arguments: str, secret: str = SECRET) -> str:
    """A token as `sse-proxy token` signs it."""
    run = subprocess.run(
        [str(proxy_program()), "token", "--secret", secret, *arguments], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def cache(*parts: str) -> Path:
    """A folder outside the tree for what is built."""
    import os

    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base.joinpath("revenprox", "documentation", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
