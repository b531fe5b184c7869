"""Small adjustments when mkdocs builds the guide.

A link that leaves the guide, to a manifest or a specification, is good where the repository is read, but the site does not
have its target. There its text stays, and the path is shown. Attributes of blocks are for the checks, so they go too.
"""

import os
import re

LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r'^(\s*(?:`{3,}|~{3,})\s*[\w+-]+)((?:\s+[a-z]+="[^"]*")+)\s*$', re.MULTILINE)
TITLE = re.compile(r'\stitle="[^"]*"')
FILE = re.compile(r'\sfile="([^"#]*)[^"]*"')


def on_page_markdown(markdown, page, config, files):
    folder = os.path.dirname(page.file.src_uri)
    markdown = FENCE.sub(_fence, markdown)

    def link(found):
        text, target = found.group(1), found.group(2)
        path = os.path.normpath(os.path.join("documentation", folder, target))
        if re.match(r"[a-z]+:", target) or path.split(os.sep)[0] == "documentation":
            return found.group(0)
        plain = text.strip("`")
        return f"`{path}`" if plain in (path, target) else f"{text} (`{path}`)"

    return LINK.sub(link, markdown)


def _fence(found):
    attributes = found.group(2)
    shown = TITLE.search(attributes)
    copied = FILE.search(attributes)
    if shown:
        return found.group(1) + shown.group(0)
    return found.group(1) + (f' title="{copied.group(1)}"' if copied else "")
