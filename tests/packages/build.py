"""Two tiny models, compiled for every target that has a package around it."""

from __future__ import annotations

from pathlib import Path

from edgeseq import api
from edgeseq.options import CompileOptions
from tests.e2e import models

TARGETS = (
    "x86-64",
    "arm64-linux",
    "arm64-android",
    "arm64-ios",
    "arm64-macos",
    "armv7-linux",
    "wasm",
)


def tiny(which: str, folder: Path) -> Path:
    """Compile `STEP` (a single step) or `SEQUENCE` (whole sequences only)."""
    proto = models.build(getattr(models, which))
    dims = {"T": (1, 64)} if which == "SEQUENCE" else {}
    options = CompileOptions(folder / which, TARGETS, dims=dims, name=which.lower())
    return api.compile_model(proto, options).folder
