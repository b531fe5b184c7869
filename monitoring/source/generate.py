"""Writes the dashboards as JSON into `monitoring/dashboards`, or with `--check` says which differ from what would be written."""

import json
import sys
from pathlib import Path

import mesh
import operators
import proxy

FOLDER = Path(__file__).resolve().parent.parent / "dashboards"
DASHBOARDS = [proxy.DASHBOARD, mesh.DASHBOARD, operators.DASHBOARD]


def main():
    """Writes or compares; ends with 1 if a file differs."""
    FOLDER.mkdir(exist_ok=True)
    differing = []
    for dashboard in DASHBOARDS:
        path = FOLDER / f"{dashboard.uid}.json"
        text = json.dumps(dashboard.json(), indent=2, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            differing.append(path.name)
    for name in differing:
        print(f"monitoring/dashboards/{name} is not what monitoring/source says; run `make dashboards`", file=sys.stderr)
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
