"""Compiled pieces of earlier runs, by the hash of everything that went into them."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from importlib.resources import files
from pathlib import Path

TOOLS = ("apache-tvm", "ziglang", "onnx", "onnx-ir", "numpy")


def folder() -> Path:
    """The user's cache folder for edgeseq; it need not exist."""
    home = Path.home()
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", home / ".cache"))
    return base / "edgeseq"


def key(*parts: bytes | str) -> str:
    """Hash of the parts, of edgeseq's own sources and of the tools that compile."""
    digest = hashlib.sha256()
    for part in (*parts, own_hash(), *(f"{t} {_version(t)}" for t in TOOLS)):
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def fetch(name: str, into: Path) -> list[str] | None:
    """Copy an entry's files into a folder; None if there is no such entry."""
    entry = folder() / name
    if not entry.is_dir():
        return None
    found = sorted(p.relative_to(entry).as_posix() for p in entry.rglob("*") if p.is_file())
    _copy(entry, into, found)
    return found


def store(name: str, source: Path, names: Iterable[str]) -> None:
    """Keep files under a name; a full disk or a read-only home costs the entry, not the run."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder(), prefix="new-") as temporary:
            staged = Path(temporary) / "entry"
            staged.mkdir()
            _copy(source, staged, names)
            staged.rename(folder() / name)
    except OSError:
        return


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def own_hash() -> str:
    """Hash of the sources that decide what is emitted."""
    digest = hashlib.sha256()
    for package in ("edgeseq.lower", "edgeseq.kernels", "edgeseq.targets", "edgeseq.packages"):
        root = Path(str(files(package)))
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
