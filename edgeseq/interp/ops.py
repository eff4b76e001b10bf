"""The table of operators the interpreter knows: one entry per standard ONNX operator."""

from __future__ import annotations

import importlib
import pkgutil

from edgeseq.interp.call import Op


def table() -> dict[str, Op]:
    """Merge the `OPS` of every file `ops_*.py` beside this one."""
    package = importlib.import_module("edgeseq.interp")
    merged: dict[str, Op] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("ops_"):
            merged |= importlib.import_module(f"edgeseq.interp.{module.name}").OPS
    return merged
