#!/usr/bin/env python3
"""Checks the spelling of all prose with hunspell, British English, and the words of words.txt.

Code, addresses, HTML and what is in backquotes is not prose. Words of words.txt that no document uses are reported too,
so that the list does not hide mistakes of tomorrow.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pages

WORDS = Path(__file__).parent / "words.txt"
NOT_PROSE = [
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"(`+)(?:(?!\1).)*\1", re.DOTALL),
    re.compile(r"(?<=\])\([^)\s]*\)"),
    re.compile(r"https?://[^\s)>]+"),
    re.compile(r"</?[a-zA-Z][^>]*>"),
    re.compile(r"^\s{4,}\S.*$", re.MULTILINE),
    # Names of files such as docs/operator.md or Node.js, and paths, outside backquotes.
    re.compile(r"\b[\w.-]+/[\w./-]+"),
    re.compile(r"\b[\w-]+\.[a-z]{2,5}\b"),
    # Names of alerts.
    re.compile(r"\bRevenProx[A-Z]\w+\b"),
    # The genitive of any word.
    re.compile(r"['’]s\b"),
    # Addresses, versions and abbreviations with figures: 0.1.5, UUIDv5, HS256.
    re.compile(r"\b\w*\d[\w.]*\b"),
]
# What is specified there shows bytes and grammars as indented text, which the expression for it above takes care of;
# in the guide indented lines are continued list entries.
INDENTED_IS_CODE = "docs"


def prose(path: Path) -> list[tuple[int, str]]:
    """The lines of a document with everything blanked out that is not prose."""
    page = pages.read(path)
    keep = {number: line for number, line in page.lines}
    text = "\n".join(keep.get(number, "") for number in range(1, max(keep, default=0) + 1))
    for pattern in NOT_PROSE:
        if "{4,}" in pattern.pattern and INDENTED_IS_CODE not in path.relative_to(pages.ROOT).parts[:1]:
            continue
        text = pattern.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)
    return list(enumerate(text.replace("’", "'").replace("…", " ").splitlines(), 1))


def unknown(lines: list[tuple[int, str]], words: set[str]) -> list[tuple[int, str]]:
    """Words that neither hunspell nor the list knows, with their lines."""
    run = subprocess.run(
        ["hunspell", "-d", "en_GB", "-i", "utf-8", "-l"],
        input="\n".join(line for _, line in lines), capture_output=True, text=True, check=True,
    )
    strange = set(run.stdout.split()) - words
    found = []
    for word in strange:
        places = [number for number, line in lines if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", line)]
        found += [(number, word) for number in places or [1]]
    return found


def used(words: set[str], text: str) -> set[str]:
    present = set(re.findall(r"[^\W_][\w.-]*", text)) | set(re.findall(r"[^\W\d_]+", text))
    return words & present


def main() -> int:
    if not shutil.which("hunspell"):
        print("spelling: hunspell is missing; run ./install.sh --tools-only documentation")
        return 1
    words = {line.strip() for line in WORDS.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#"}
    documents, mistakes, everything = pages.all_documents(), 0, []
    for path in documents:
        lines = prose(path)
        everything += [line for _, line in lines]
        for number, word in sorted(set(unknown(lines, words))):
            mistakes += 1
            print(f"{path.relative_to(pages.ROOT)}:{number}: {word} is not known")
    if mistakes:
        print("spelling: correct it, put it in backquotes if it is code, or add it to documentation/check/words.txt")
    idle = words - used(words, "\n".join(everything))
    if idle:
        print(f"spelling: note: no document uses {', '.join(sorted(idle))}")
    print(f"spelling: {len(documents)} documents, {mistakes} unknown words")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
