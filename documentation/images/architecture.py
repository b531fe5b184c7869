#!/usr/bin/env python3
"""Draws architecture.svg: publishers, three instances with their mesh, browsers.

architecture.py          writes the picture
architecture.py --check  fails if the picture is not what this program draws

The picture brings its own background, and other colours where the reader prefers dark.
"""

import sys
from pathlib import Path

PICTURE = Path(__file__).with_suffix(".svg")
WIDTH, HEIGHT = 920, 430
STYLE = """
  .paper { fill: #ffffff; stroke: #d5dbe1; }
  .box { fill: #f2f6f8; stroke: #6b7f8e; }
  .proxy { fill: #e0f2f1; stroke: #00796b; }
  .line { stroke: #44576a; fill: none; stroke-width: 1.8; }
  .stream { stroke: #00796b; fill: none; stroke-width: 2.2; }
  .mesh { stroke: #b35c00; fill: none; stroke-width: 2.2; stroke-dasharray: 6 4; }
  .head { fill: #44576a; } .stream-head { fill: #00796b; }
  text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; font-size: 15px; fill: #1d2b36; }
  .small { font-size: 12.5px; fill: #4a5b69; } .strong { font-weight: 600; }
  .on-mesh { fill: #8f4a00; } .on-stream { fill: #00695c; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14191e; stroke: #37424c; }
    .box { fill: #1f272e; stroke: #8b9dab; }
    .proxy { fill: #0f302d; stroke: #4db6ac; }
    .line { stroke: #a9b8c4; } .stream { stroke: #4db6ac; } .mesh { stroke: #ffb74d; }
    .head { fill: #a9b8c4; } .stream-head { fill: #4db6ac; }
    text { fill: #e6edf2; } .small { fill: #aebbc5; } .on-mesh { fill: #ffcc80; } .on-stream { fill: #80cbc4; }
  }
"""


def box(x: int, y: int, width: int, height: int, kind: str, *lines: tuple[str, str]) -> str:
    """A box with centred lines of text, each with its class."""
    middle, top = x + width / 2, y + height / 2 - (len(lines) - 1) * 9 + 5
    texts = "".join(
        f'\n  <text x="{middle:g}" y="{top + 18 * number:g}" text-anchor="middle" class="{style}">{text}</text>'
        for number, (text, style) in enumerate(lines)
    )
    return f'  <rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" class="{kind}"/>{texts}'


def arrow(points: list[tuple[int, int]], kind: str = "line", head: str = "arrow") -> str:
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    return f'  <path d="{path}" class="{kind}"' + (f' marker-end="url(#{head})"/>' if head else "/>")


def label(x: int, y: int, text: str, style: str = "small", anchor: str = "middle") -> str:
    return f'  <text x="{x}" y="{y}" text-anchor="{anchor}" class="{style}">{text}</text>'


def marker(name: str, style: str) -> str:
    return (
        f'    <marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse">'
        f'<path d="M0 0 L10 5 L0 10 z" class="{style}"/></marker>'
    )


def draw() -> str:
    instances = [(370, 40, "a"), (370, 170, "b"), (370, 300, "c")]
    parts = [
        box(40, 105, 150, 60, "box", ("back end", "strong"), ("any language, HTTP", "small")),
        box(40, 235, 150, 60, "box", ("back end", "strong"), ("batches, or NNG", "small")),
    ]
    for x, y, name in instances:
        parts.append(box(x, y, 190, 74, "proxy", (f"sse-proxy {name}", "strong"), ("topics, history,", "small"), ("tokens, limits", "small")))
    for y, text in [(47, "browsers"), (177, "browsers"), (307, "other clients")]:
        parts.append(box(730, y, 150, 60, "box", (text, "strong"), ("EventSource", "small")))
    parts += [
        arrow([(190, 135), (366, 84)]),
        arrow([(190, 265), (366, 330)]),
        label(236, 92, "POST /events/{topic}"),
        label(250, 334, "to any instance"),
        # The mesh: each instance with each other.
        arrow([(465, 114), (465, 170)], "mesh", ""),
        arrow([(465, 244), (465, 300)], "mesh", ""),
        '  <path d="M400 114 C 320 160 320 254 400 300" class="mesh"/>',
        label(484, 147, "mesh: NNG, encrypted", "small on-mesh", "start"),
        label(484, 277, "one hop, only where wanted", "small on-mesh", "start"),
    ]
    for y in (77, 207, 337):
        parts.append(arrow([(560, y), (726, y)], "stream", "stream-arrow"))
    parts += [
        label(643, 68, "GET /events/{topic}", "small on-stream"),
        label(643, 198, "text/event-stream", "small on-stream"),
        label(643, 328, "Last-Event-ID", "small on-stream"),
        label(643, 358, "resume at any instance", "small on-stream"),
        label(WIDTH // 2, 408, "No broker, no database: each topic’s history is kept by two of the instances."),
    ]
    title = "Back ends publish to any of three sse-proxy instances, which forward over a mesh and stream to browsers"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{title}">',
            f"  <title>{title}</title>",
            f"  <style>{STYLE}  </style>",
            "  <defs>",
            marker("arrow", "head"),
            marker("stream-arrow", "stream-head"),
            "  </defs>",
            f'  <rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="12" class="paper"/>',
            *parts,
            "</svg>\n",
        ]
    )


def main() -> int:
    if "--check" in sys.argv:
        same = PICTURE.exists() and PICTURE.read_text(encoding="utf-8") == draw()
        print("pictures: architecture.svg " + ("is what its source draws" if same else "is stale; run `make docs-images`"))
        return 0 if same else 1
    PICTURE.write_text(draw(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
