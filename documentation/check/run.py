#!/usr/bin/env python3
"""Runs all checks of the documents one after the other, and says at the end which passed.

run.py NAME... runs some of them: site, links, spelling, pictures, blocks, publish, webhook, proxies, gateway.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CHECKS = {
    # Not --quiet: that would hide warnings from --strict too.
    "site": [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean"],
    "links": [sys.executable, str(HERE / "links.py")],
    "spelling": [sys.executable, str(HERE / "spelling.py")],
    "pictures": [sys.executable, str(ROOT / "documentation" / "images" / "architecture.py"), "--check"],
    "blocks": [sys.executable, str(HERE / "blocks.py")],
    "publish": [sys.executable, str(HERE / "publish.py")],
    "webhook": [sys.executable, str(HERE / "webhook.py")],
    "proxies": [sys.executable, str(HERE / "proxies.py")],
    "gateway": [sys.executable, str(HERE / "gateway.py")],
}


def main() -> int:
    names = sys.argv[1:] or list(CHECKS)
    failed = []
    for name in names:
        print(f"=== {name}", flush=True)
        begin = time.monotonic()
        if subprocess.run(CHECKS[name], cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}).returncode != 0:
            failed.append(name)
        print(f"=== {name}: {'failed' if name in failed else 'passed'} after {time.monotonic() - begin:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
