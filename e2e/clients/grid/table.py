"""The table of clients: what is expected of each, and the document that shows it."""

import json
import re
import textwrap
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .prepare import CLIENTS
from .scenarios import BEST

TABLE = CLIENTS / "clients.toml"
DOCUMENT = CLIENTS.parents[1] / "documentation/clients.md"
BEGIN = "<!-- The grid begins here; it is written by `make clients-document`. -->"
END = "<!-- The grid ends here. -->"

DEFAULTS = {"where": "", "run": [], "package": None, "note": "", "browser": None, "page": None, "same_origin": False}

# Two tables, as one would be too wide to be read: the scenarios and their headings.
RECEIVING = {
    "connect": "connect",
    "unauthorized": "401",
    "forbidden": "403",
    "shapes": "data",
    "large": "64 KiB",
    "burst": "burst",
    "keepalive": "keepalive",
}
RETURNING = {
    "resume": "resume",
    "retry": "retry",
    "outage": "outage",
    "gap": "gap",
    "turned_away": "turned away",
    "drain": "drain",
}
COLUMNS = RECEIVING | RETURNING


@dataclass(frozen=True)
class Difference:
    """What a client does instead of the best, and why."""

    outcome: str
    why: str


@dataclass(frozen=True)
class Entry:
    """One client of the table."""

    id: str
    name: str
    where: str
    group: str
    language: str
    run: list[str]
    package: str | None
    token: str
    reconnects: str
    note: str
    browser: str | None
    page: str | None
    same_origin: bool
    differs: dict[str, Difference]

    def expected(self, scenario: str) -> str:
        return self.differs[scenario].outcome if scenario in self.differs else BEST[scenario]


def load() -> list[Entry]:
    """Reads the table; anything that it says twice, or of nothing, is an error."""
    entries = []
    for raw in tomllib.loads(TABLE.read_text())["client"]:
        differs = {}
        for difference in raw.pop("differs", []):
            for scenario in difference["in"]:
                if scenario not in BEST or scenario in differs or difference["outcome"] == BEST[scenario]:
                    raise ValueError(f"{raw['id']}: nothing differs in {scenario}, or it is there twice")
                differs[scenario] = Difference(difference["outcome"], difference["why"])
        entries.append(Entry(**(DEFAULTS | raw | {"differs": differs})))
    if len({entry.id for entry in entries}) != len(entries):
        raise ValueError("two clients have the same id")
    return entries


def version(entry: Entry) -> str:
    """The version in the lock file, or nothing for what comes from the system."""
    if entry.package is None:
        return ""
    folder = CLIENTS / ("node" if entry.language == "browser" else entry.language)
    if folder.name == "node":
        packages = json.loads((folder / "package-lock.json").read_text())["packages"]
        return packages[f"node_modules/{entry.package}"]["version"]
    patterns = {
        "python": ("requirements.txt", rf"^{re.escape(entry.package)}==(\S+)$"),
        "go": ("go.mod", rf"^\s*{re.escape(entry.package)} v(\S+)"),
        "rust": ("Cargo.lock", rf'^name = "{re.escape(entry.package)}"\nversion = "([^"]+)"'),
    }
    name, pattern = patterns[entry.language]
    return re.search(pattern, (folder / name).read_text(), re.MULTILINE)[1]


def document(entries: list[Entry]) -> str:
    """The whole document, with the table as it has to be now."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{DOCUMENT} has no place for the grid")
    return f"{before}{BEGIN}\n\n{_grid(entries)}### Remarks\n\n{_remarks(entries)}{END}{after}"


def _grid(entries: list[Entry]) -> str:
    receiving = _table(entries, "token", lambda entry: entry.token, RECEIVING)
    returning = _table(entries, "comes back by", lambda entry: entry.reconnects, RETURNING)
    return f"### Connecting and receiving\n\n{receiving}\n### Coming back\n\n{returning}\n"


def _table(entries: list[Entry], property: str, value: Callable[[Entry], str], columns: dict[str, str]) -> str:
    """Lines for all clients, under the names of their groups."""
    head = ["client", property, *columns.values()]
    parts = [_row(head), _row(["---"] * len(head))]
    group = None
    for entry in entries:
        if entry.group != group:
            group = entry.group
            parts.append(_row([f"**{group}**", *[""] * (len(head) - 1)]))
        name = " ".join(filter(None, [entry.name, version(entry), entry.where]))
        parts.append(_row([name, value(entry), *(_cell(entry, scenario) for scenario in columns)]))
    return "".join(parts)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cell(entry: Entry, scenario: str) -> str:
    return f"[{entry.differs[scenario].outcome}](#{entry.id})" if scenario in entry.differs else "✓"


def _remarks(entries: list[Entry]) -> str:
    """A paragraph for each client that differs, or of which something is to be said."""
    parts = []
    for entry in entries:
        if not entry.differs and not entry.note:
            continue
        name = " ".join(filter(None, [entry.name, entry.where]))
        parts.append(f'<a id="{entry.id}"></a>\n{_wrap(f"**{name}.** {entry.note}")}\n\n')
        reasons: dict[Difference, list[str]] = {}
        for scenario, difference in entry.differs.items():
            reasons.setdefault(difference, []).append(COLUMNS[scenario])
        for difference, columns in reasons.items():
            parts.append(_wrap(f"- *{', '.join(columns)}: {difference.outcome}.* {difference.why}", indent="  ") + "\n")
        parts.append("\n" if reasons else "")
    return "".join(parts)


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 130, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
