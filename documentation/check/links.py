#!/usr/bin/env python3
"""Checks the links of all documents: files and anchors that must be there, and the form of external addresses.

External addresses are not visited: the check must give the same answer on a machine without the internet.
"""

import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pages

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)")
HTML = re.compile(r"(?:href|src|srcset)=\"([^\"\s]+)\"")
CODE = re.compile(r"(`+).*?\1")


def targets(page: pages.Page):
    """All targets of links, with the numbers of their lines."""
    for number, line in page.lines:
        line = CODE.sub("``", line)
        for pattern in (LINK, REFERENCE, HTML):
            for target in pattern.findall(line):
                yield number, target


def external_mistake(target: str) -> str | None:
    """What is wrong with the form of an address outside."""
    parts = urlsplit(target)
    if parts.scheme == "mailto":
        return None if "@" in parts.path else "is not an address"
    if parts.scheme != "https":
        return "should begin with https"
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc):
        return "has no proper host"
    return None


class Checker:
    def __init__(self) -> None:
        self.known: dict[Path, set[str]] = {}
        self.count = 0

    def anchors(self, path: Path) -> set[str]:
        if path not in self.known:
            self.known[path] = pages.anchors(pages.read(path))
        return self.known[path]

    def mistake(self, page: Path, target: str) -> str | None:
        self.count += 1
        if re.match(r"[a-z][a-z+.-]*:", target):
            return external_mistake(target)
        name, _, anchor = target.partition("#")
        if name.startswith("/"):
            return "must be relative"
        path = (page.parent / unquote(name)).resolve() if name else page
        if not path.is_relative_to(pages.ROOT):
            return "leads out of the repository"
        if not path.exists():
            return "does not exist"
        if anchor and path.suffix == ".md" and unquote(anchor) not in self.anchors(path):
            return f"has no heading for #{anchor}"
        return None


def main() -> int:
    checker, mistakes = Checker(), 0
    documents = pages.all_documents()
    for path in documents:
        for number, target in targets(pages.read(path)):
            mistake = checker.mistake(path, target)
            if mistake:
                mistakes += 1
                print(f"{path.relative_to(pages.ROOT)}:{number}: {target} {mistake}")
    print(f"links: {checker.count} links of {len(documents)} documents, {mistakes} broken")
    return 1 if mistakes or not checker.count else 0


if __name__ == "__main__":
    sys.exit(main())
