"""Names and first docstring lines of passes, kernels and targets, read without importing them."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

from edgeseq import registry


def entries(kind: str) -> list[tuple[str, str]]:
    """Return (user name, first line of the module's docstring) of everything in a folder."""
    folder = Path(importlib.import_module(f"edgeseq.{kind}").__path__[0])
    return [
        (name, _first_line(folder / f"{registry.file_name(name)}.py"))
        for name in registry.names(kind)
    ]


def _first_line(file: Path) -> str:
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0]
