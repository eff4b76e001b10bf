"""Proof of the numbers: vectors recorded at compile time, and compiled code checked against them.

`record` runs the imported model in float64 (the oracle) and in float32 (the reference, whose error
sets the tolerance). `check` runs a compiled target over the same inputs, whole and in pieces; it
needs neither torch nor onnx, so names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgeseq.errors import ToolchainError

if TYPE_CHECKING:
    from edgeseq.validate.checking import check as check
    from edgeseq.validate.finding import Finding as Finding
    from edgeseq.validate.finding import Verdict as Verdict
    from edgeseq.validate.finding import require as require
    from edgeseq.validate.oracle import Interpreted as Interpreted
    from edgeseq.validate.oracle import Oracle as Oracle
    from edgeseq.validate.oracle import PyTorch as PyTorch
    from edgeseq.validate.recording import record as record
    from edgeseq.validate.render import describe as describe
    from edgeseq.validate.render import summary as summary
    from edgeseq.validate.render import to_json as to_json
    from edgeseq.validate.render import to_junit as to_junit
    from edgeseq.validate.render import to_text as to_text
    from edgeseq.validate.rerun import Against as Against
    from edgeseq.validate.rerun import against as against
    from edgeseq.validate.vectors import Vectors as Vectors

_HOMES = {
    "Against": "rerun",
    "Finding": "finding",
    "Interpreted": "oracle",
    "Oracle": "oracle",
    "PyTorch": "oracle",
    "Vectors": "vectors",
    "Verdict": "finding",
    "against": "rerun",
    "check": "checking",
    "describe": "render",
    "record": "recording",
    "require": "finding",
    "summary": "render",
    "to_json": "render",
    "to_junit": "render",
    "to_text": "render",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeseq.validate' has no attribute '{name}'")
    try:
        home = importlib.import_module(f"edgeseq.validate.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolchainError(
            "torch is not installed",
            why="the oracle, which says what the numbers should be, runs in torch",
            fix="pip install 'edgeseq[torch]'",
        ) from None
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
