#!/usr/bin/env python3
"""Takes the fenced blocks out of the README and the guide and runs or checks each; README.md in this folder has the rules.

blocks.py            checks all pages
blocks.py PAGE...    checks these
blocks.py --write    copies the examples into the blocks that show them, so that both are the same again
"""

import argparse
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import checkers
import pages
import ports
from pages import Block, Mistake, Page
from running import Program, Proxy, proxy_program, wait_until

# What a page's blocks may name: it is there in the folder where they run.
PRESENT = ("charts", "config", "crds", "deploy", "documentation", "manifests", "docker-compose.yml", "Makefile", "install.sh")
# Ports of this machine in a block; each is replaced by a free one, the same on the whole page.
PORT = re.compile(r"(?P<before>(?:localhost|127\.0\.0\.1|0\.0\.0\.0|tcp://\*):|\bPORT=)(?P<port>[1-9]\d{3,4})\b")


class Session:
    """A page's folder, its ports and the programs that its blocks have started."""

    def __init__(self, page: Page, folder: Path):
        self.page = page
        self.folder = folder
        self.bases: dict[int, int] = {}
        self.programs: list[Program] = []
        self.expected: list[tuple[Block, Program, str]] = []
        for name in PRESENT:
            if (pages.ROOT / name).exists():
                (folder / name).symlink_to(pages.ROOT / name)

    def port(self, port: int) -> int:
        """The free port that stands for one of the page; neighbours stay neighbours."""
        base = port - port % 10
        if base not in self.bases:
            self.bases[base] = ports.free(10)
        return self.bases[base] + port % 10

    def rewritten(self, text: str) -> str:
        return PORT.sub(lambda found: found["before"] + str(self.port(int(found["port"]))), text)

    def start(self, program: Program) -> Program:
        self.programs.append(program)
        return program

    def expect(self, block: Block, program: Program) -> None:
        if "expect" in block.attributes:
            self.expected.append((block, program, self.rewritten(block.attributes["expect"])))

    def finish(self) -> None:
        """Waits for what the blocks are to print."""
        for block, program, text in self.expected:
            try:
                wait_until(lambda: text in program.text(), f"`{text}` is printed")
            except AssertionError as error:
                raise Mistake(f"{block.place}: {error}; it printed:\n{program.text()}") from None

    def close(self) -> None:
        for program in reversed(self.programs):
            program.end()


def run_shell(session: Session, block: Block, number: int) -> None:
    """Runs a block in bash, where those before it left off: their exported variables and their files are there."""
    script = session.folder / f".block-{number}.sh"
    state = session.folder / ".environment"
    state.touch()
    script.write_text(
        f"set -euo pipefail\n. '{state}'\ncd '{session.folder}'\n{session.rewritten(block.text)}\nexport -p > '{state}'\n", encoding="utf-8"
    )
    path = f"{proxy_program().parent}:{os.environ['PATH']}"
    program = session.start(Program(["bash", str(script)], script.with_suffix(".output"), {"PATH": path}, session.folder))
    session.expect(block, program)
    if block.attributes.get("background") == "yes":
        # It has to be where it waits for something before the next block may go on.
        wait_until(lambda: program.text() or program.process.poll() is not None, f"{block.place}: something is printed")
        return
    try:
        code = program.process.wait(120)
    except Exception:
        raise Mistake(f"{block.place}: does not end; it printed:\n{program.text()}") from None
    if code != int(block.attributes.get("exit", "0")):
        raise Mistake(f"{block.place}: ended with {code}:\n{program.text()}")


def wants_proxy(page: Page) -> bool:
    """Whether a proxy is to run for the blocks of a page."""
    if page.settings.get("proxy") == "none":
        return False
    blocks = [block for block in page.blocks if block.language in checkers.RUN and block.attributes.get("run") != "no"]
    return "admin" in page.settings or any("8080" in block.text for block in blocks)


def admin_listener(session: Session) -> dict[str, str]:
    """The admin listener of that proxy, on the port that the page says."""
    port = session.page.settings.get("admin")
    return {"REVENPROX_ADMIN__BIND_ADDRESS": f"127.0.0.1:{session.port(int(port))}"} if port else {}


def run_page(page: Page, counts: Counter, left_out: list[str]) -> None:
    """Runs and checks all blocks of a page, in their order."""
    with tempfile.TemporaryDirectory(prefix="revenprox-guide-", ignore_cleanup_errors=True) as name:
        session = Session(page, Path(name))
        try:
            if wants_proxy(page):
                session.start(Proxy(session.folder, port=session.port(8080), environment=admin_listener(session)))
            for number, block in enumerate(page.blocks):
                handle(session, block, number, counts, left_out)
            session.finish()
        finally:
            session.close()


def handle(session: Session, block: Block, number: int, counts: Counter, left_out: list[str]) -> None:
    checkers.check_attributes(block)
    language, attributes = block.language, block.attributes
    if "title" in attributes and "file" not in attributes:
        target = session.folder / attributes["title"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(session.rewritten(block.text), encoding="utf-8")
    if "file" in attributes:
        checkers.check_copy(block)
        counts["copies of tested files"] += 1
    elif reason := attributes.get("reason") or checkers.elsewhere(block):
        checkers.check_syntax(session, block)
        counts["not run"] += 1
        left_out.append(f"{block.place} ({language}): {reason}")
    elif language == "sh":
        run_shell(session, block, number)
        counts["sh run"] += 1
    elif language in checkers.CHECKS:
        checkers.CHECKS[language](session, block)
        counts[f"{language} {'run' if language in checkers.RUN else 'checked'}"] += 1
    else:
        counts["text, nothing to check"] += 1


def write_copies() -> int:
    """Puts the contents of the files into the blocks that show them."""
    for path in [pages.ROOT / "README.md", *pages.guide_pages()]:
        lines = path.read_text(encoding="utf-8").split("\n")
        for block in reversed(pages.read(path).blocks):
            if "file" in block.attributes:
                end = block.line + (block.text.count("\n") if block.text != "\n" else 0)
                indent = re.match(r"\s*", lines[block.line - 1]).group()
                copy = checkers.copied(block).rstrip("\n").split("\n")
                lines[block.line : end] = [f"{indent}{line}" if line else "" for line in copy]
        path.write_text("\n".join(lines), encoding="utf-8")
    return 0


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("pages", nargs="*", type=Path)
    arguments.add_argument("--write", action="store_true", help="copy the examples into the pages")
    arguments.add_argument("--list", action="store_true", help="name the blocks that are not run, with the reason")
    options = arguments.parse_args()
    if options.write:
        return write_copies()
    proxy_program()
    counts, left_out, failed = Counter(), [], 0
    for path in options.pages or [pages.ROOT / "README.md", *pages.guide_pages()]:
        try:
            run_page(pages.read(path.resolve()), counts, left_out)
        except (Mistake, AssertionError) as error:
            failed += 1
            print(f"blocks: {error}" if isinstance(error, Mistake) else f"blocks: {path}: {error}")
    print("blocks not run:")
    for line in left_out:
        print(f"  {line}")
    print("blocks: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) + f"; {failed} pages with mistakes")
    nothing_ran = not options.pages and not counts["sh run"]
    return 1 if failed or nothing_ran else 0


if __name__ == "__main__":
    sys.exit(main())
