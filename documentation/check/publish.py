#!/usr/bin/env python3
"""Runs the example publishers, in ten languages, against a proxy that asks for tokens.

Each has to publish text of several lines, outside ASCII and with quotes, to a topic whose name has to be encoded; to be
accepted once only under one idempotency key; and to fail aloud without a token.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pages
from running import Proxy, Stream
from tokens import LOCAL_KEYS, cache, token

EXAMPLES = pages.GUIDE / "examples" / "publish"
TOPIC = "orders/42 für % + é?#"
DATA = 'first line\n{"order": 42, "note": "ünïcode 🦀 & \'quotes\' \\\\"}\n\n  last line'
# Language, what is needed, how it is built, how it is run. {cache} is a folder outside the tree.
LANGUAGES = [
    ("curl", ["curl", "jq"], [], ["sh", "publish.sh"]),
    ("Python", ["python3"], [], ["python3", "publish.py"]),
    ("Node.js", ["node"], [], ["node", "publish.mjs"]),
    ("Go", ["go"], [["go", "build", "-o", "{cache}/publish-go", "publish.go"]], ["{cache}/publish-go"]),
    (
        "Rust", ["cargo"],
        [["cargo", "build", "--quiet", "--locked", "--manifest-path", "rust/Cargo.toml", "--target-dir", "{cache}/rust"]],
        ["{cache}/rust/debug/publish"],
    ),
    ("Java", ["javac"], [["javac", "-d", "{cache}/java", "Publish.java"]], ["java", "-cp", "{cache}/java", "Publish"]),
    ("PHP", ["php"], [], ["php", "publish.php"]),
    ("Ruby", ["ruby"], [], ["ruby", "publish.rb"]),
    (
        "C", ["cc", "pkg-config"],
        [["sh", "-c", "cc -Wall -Wextra -Werror publish.c -o {cache}/publish-c $(pkg-config --cflags --libs libcurl)"]],
        ["{cache}/publish-c"],
    ),
    ("Perl", ["perl"], [], ["perl", "publish.pl"]),
]


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    arguments = [argument.replace("{cache}", str(folder)) for argument in arguments]
    return subprocess.run(
        arguments, cwd=EXAMPLES, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
    )


def check(proxy: Proxy, language: str, needs: list[str], builds: list[list[str]], command: list[str], publisher: str, folder: Path) -> str | None:
    """What is wrong with an example, or nothing."""
    missing = [name for name in needs if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} is missing; run ./install.sh --tools-only documentation"
    for build in builds:
        built = run(build, folder, {})
        if built.returncode != 0:
            return f"does not build:\n{built.stdout}{built.stderr}"
    environment = {"REVENPROX_URL": proxy.url, "REVENPROX_TOKEN": publisher, "IDEMPOTENCY_KEY": str(uuid.uuid4())}
    reader = token("--subscribe", "*")
    with Stream(proxy.port, f"/events?topic={quoted(TOPIC)}&token={reader}") as stream:
        for attempt in ("first", "second"):
            published = run([*command, TOPIC, DATA], folder, environment)
            if published.returncode != 0:
                return f"fails the {attempt} time:\n{published.stdout}{published.stderr}"
        environment["IDEMPOTENCY_KEY"] = str(uuid.uuid4())
        run([*command, TOPIC, "the end"], folder, environment)
        stream.wait_for("the end")
        if stream.data() != [DATA, "the end"]:
            return f"should have published {DATA!r} once, and published {stream.data()!r}"
        if {event.get("event") for event in stream.events} != {"order"}:
            return f"should publish events of the type `order`: {stream.events}"
        refused = run([*command, TOPIC, "without a token"], folder, {**environment, "REVENPROX_TOKEN": ""})
        if refused.returncode == 0:
            return "does not fail without a token"
        if "401" not in refused.stdout + refused.stderr:
            return f"does not tell the status without a token:\n{refused.stdout}{refused.stderr}"
    return None


def quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as name, Proxy(Path(name), LOCAL_KEYS) as proxy:
        publisher = token("--publish", "orders/*")
        for language, needs, builds, command in LANGUAGES:
            mistake = check(proxy, language, needs, builds, command, publisher, cache("examples"))
            failed += mistake is not None
            print(f"publish: {language}: {mistake or 'ok'}", flush=True)
    print(f"publish: {len(LANGUAGES) - failed} of {len(LANGUAGES)} languages")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
