#!/usr/bin/env python3
"""Runs real SSE clients against a real proxy, and compares what each one does with its entry in clients.toml.

    run.py                      all clients, all scenarios
    run.py eventsource curl     these clients
    run.py --only gap,drain     these scenarios
    run.py --document           only writes the table into documentation/clients.md

The program under test is named by SSE_PROXY; without it, it is target/debug/sse-proxy.
"""

import argparse
import asyncio
import itertools
import os
import signal
import sys
import time
import traceback
from contextlib import AsyncExitStack
from dataclasses import dataclass

from grid import table
from grid.adapter import BrowserHost, Client, PageClient, ProgramClient
from grid.prepare import CLIENTS, Missing, prepare
from grid.proxy import PROGRAM, Proxy, free_port
from grid.relay import Relay
from grid.scenarios import HISTORY, OWN_PROXY, RETRY_MS, SCENARIOS, Failure, Run
from grid.table import Entry

AT_ONCE = int(os.environ.get("CLIENTS_AT_ONCE", "8"))
# A client that does nothing does not keep the others waiting for ever.
LONGEST_SECONDS = 120


@dataclass
class Outcome:
    """What became of one run."""

    entry: Entry
    scenario: str
    found: str
    details: str
    seconds: float

    def matches(self) -> bool:
        return self.found == self.entry.expected(self.scenario)


class Grid:
    """What all runs have in common."""

    def __init__(self, folders: dict, hosts: dict[str, BrowserHost], origins: list[str], proxy: Proxy) -> None:
        self._origins = origins
        self._folders = folders
        self._hosts = hosts
        self._proxy = proxy
        self._places = asyncio.Semaphore(AT_ONCE)
        self._numbers = itertools.count()

    def client(self, entry: Entry, topic: str) -> Client:
        if entry.browser:
            return PageClient(self._hosts[entry.browser], topic, entry.page, entry.same_origin)
        program = str(self._folders[entry.language] / entry.run[0])
        return ProgramClient([program, *entry.run[1:]], CLIENTS / entry.language)

    async def run(self, entry: Entry, scenario: str) -> Outcome:
        async with self._places, AsyncExitStack() as stack:
            began = time.monotonic()
            topic = f"{entry.id}-{scenario}-{next(self._numbers)}"
            proxy = self._proxy
            if scenario in OWN_PROXY:
                proxy = await stack.enter_async_context(Proxy(origins=self._origins, **OWN_PROXY[scenario]))
            relay = await stack.enter_async_context(Relay(proxy.port))
            client = self.client(entry, topic)
            run = Run(client, topic, proxy, relay, entry.token == "header")
            details = ""
            try:
                found = await asyncio.wait_for(SCENARIOS[scenario](run), LONGEST_SECONDS)
            except Failure as failure:
                found, details = "fails", str(failure)
            except Exception:
                found, details = "fails", traceback.format_exc()
            finally:
                await client.stop()
            complaints = client.complaints.decode(errors="replace")
            return Outcome(entry, scenario, found, f"{details[-2000:]}\n{complaints[-2000:]}", time.monotonic() - began)


async def browsers(entries: list[Entry], folders: dict, stack: AsyncExitStack) -> tuple[dict[str, BrowserHost], list[str]]:
    """Starts the browsers; returns them and the origins of the pages in them."""
    hosts, origins = {}, []
    for browser in {entry.browser for entry in entries if entry.browser}:
        port = free_port()
        origins.append(f"http://127.0.0.1:{port}")
        command = [str(folders["node"] / "node"), "browser.mjs", browser, str(port)]
        hosts[browser] = await stack.enter_async_context(BrowserHost(command, CLIENTS / "node"))
    return hosts, origins


async def try_all(entries: list[Entry], scenarios: list[str]) -> list[Outcome]:
    folders = await asyncio.to_thread(prepare, {"node" if entry.browser else entry.language for entry in entries})
    async with AsyncExitStack() as stack:
        hosts, origins = await browsers(entries, folders, stack)
        proxy = await stack.enter_async_context(Proxy(origins=origins, retry_ms=RETRY_MS, history=HISTORY))
        grid = Grid(folders, hosts, origins, proxy)
        runs = [grid.run(entry, scenario) for entry in entries for scenario in scenarios]
        outcomes = []
        for run in asyncio.as_completed(runs):
            outcome = await run
            outcomes.append(outcome)
            tell(outcome, "?   ")
        # Together they keep a small machine busy, and what some of them do depends on what comes first. By itself each has another try.
        for at, outcome in enumerate(outcomes):
            if not outcome.matches():
                outcomes[at] = await grid.run(outcome.entry, outcome.scenario)
                tell(outcomes[at], "FAIL")
        return outcomes


def tell(outcome: Outcome, otherwise: str) -> None:
    sign = "ok  " if outcome.matches() else otherwise
    print(f"{sign} {outcome.entry.id:32} {outcome.scenario:13} {outcome.seconds:5.1f} s  {outcome.found}", flush=True)
    if not outcome.matches():
        print(f"     expected: {outcome.entry.expected(outcome.scenario)}")
        if outcome.details.strip():
            print("     " + outcome.details.strip().replace("\n", "\n     "))


def check_document(entries: list[Entry]) -> bool:
    current = table.DOCUMENT.read_text() == table.document(entries)
    print(f"{'ok  ' if current else 'FAIL'} documentation/clients.md {'has' if current else 'has not'} the table as it is")
    return current


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", nargs="*")
    parser.add_argument("--only", help="scenarios, with commas", default=",".join(SCENARIOS))
    parser.add_argument("--document", action="store_true", help="write the table into the document")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    entries = table.load()
    if given.document:
        table.DOCUMENT.write_text(table.document(entries))
        return 0
    chosen = [entry for entry in entries if not given.clients or entry.id in given.clients]
    scenarios = given.only.split(",")
    if not chosen or not set(scenarios) <= set(SCENARIOS):
        print(f"clients: {', '.join(entry.id for entry in entries)}\nscenarios: {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    if not PROGRAM.is_file():
        print(f"{PROGRAM} is not there; build it, or name another one in SSE_PROXY", file=sys.stderr)
        return 2
    os.environ["SSE_PROXY"] = str(PROGRAM)
    # Ends what was started, as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        outcomes = asyncio.run(try_all(chosen, scenarios))
    except Missing as missing:
        print(f"run.py: {missing}", file=sys.stderr)
        return 2
    passed = [outcome.matches() for outcome in outcomes] + [check_document(entries)]
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
