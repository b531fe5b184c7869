"""The pages of the guide and the other documents: where they are, and what is in them."""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDE = ROOT / "documentation"
FENCE = re.compile(r"^(?P<indent>\s*)(?P<marks>`{3,}|~{3,})\s*(?P<info>[^`]*)$")
ATTRIBUTE = re.compile(r'\s*([a-z]+)="([^"]*)"')
# A setting for a whole page, such as <!-- blocks: proxy="none" -->.
PAGE_SETTING = re.compile(r"<!-- blocks:(.*?)-->", re.DOTALL)
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")


class Mistake(Exception):
    """Something in a document that has to be corrected."""


@dataclass
class Block:
    """A fenced block: its language, its attributes and its text."""

    page: Path
    line: int
    language: str
    attributes: dict[str, str]
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass
class Page:
    """A document, divided into fenced blocks and the other lines, each with its number."""

    path: Path
    settings: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    lines: list[tuple[int, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))


def guide_pages() -> list[Path]:
    """All pages of the guide, without what is about checking it."""
    return sorted(path for path in GUIDE.rglob("*.md") if "check" not in path.parts and "node_modules" not in path.parts)


def all_documents() -> list[Path]:
    """Everything that a person reads here as Markdown."""
    top = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return top + sorted((ROOT / "docs").rglob("*.md")) + guide_pages() + [GUIDE / "check" / "README.md"]


def parse_attributes(text: str, place: str) -> dict[str, str]:
    """Reads `name="value"` pairs; anything else is a mistake."""
    attributes, rest = {}, text.strip()
    while rest:
        found = ATTRIBUTE.match(rest)
        if not found:
            raise Mistake(f'{place}: `{rest}` is not of the form name="value"')
        attributes[found.group(1)] = found.group(2)
        rest = rest[found.end() :].strip()
    return attributes


def read(path: Path) -> Page:
    """Reads a document."""
    text = path.read_text(encoding="utf-8")
    page = Page(path)
    for setting in PAGE_SETTING.finditer(text):
        page.settings.update(parse_attributes(setting.group(1), str(path)))
    opening, start, body = None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if opening is None and fence:
            opening, start, body = fence, number, []
        elif opening is None:
            page.lines.append((number, line))
        elif fence and fence["marks"].startswith(opening["marks"]) and not fence["info"]:
            page.blocks.append(_block(path, start, opening, body))
            opening = None
        else:
            body.append(line.removeprefix(opening["indent"]))
    if opening is not None:
        raise Mistake(f"{path}:{start}: the block is not closed")
    return page


def _block(path: Path, line: int, opening: re.Match, body: list[str]) -> Block:
    language, _, rest = opening["info"].strip().partition(" ")
    attributes = parse_attributes(rest, f"{path.relative_to(ROOT)}:{line}")
    return Block(path, line, language, attributes, "\n".join(body) + "\n")


def plain(heading: str) -> str:
    """A heading's text without the marks of Markdown."""
    heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[`*]|(?<!\w)_|_(?!\w)", "", heading)


def anchors(page: Page) -> set[str]:
    """The anchors of a page's headings, in the form that GitHub and the guide's site share, and explicit ones."""
    found: dict[str, int] = {}
    names = set()
    for _, line in page.lines:
        names.update(re.findall(r'<a (?:id|name)="([^"]+)"', line))
        heading = HEADING.match(line)
        if not heading:
            continue
        slug = re.sub(r"[^\w\- ]", "", plain(heading.group(2)).lower()).strip().replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        names.add(f"{slug}-{count}" if count else slug)
    return names
