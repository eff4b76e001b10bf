"""placeholder."""
from __future__ import annotations
from typing import Any
OPS: tuple[str, ...] = ()
def choose(node: Any, shapes: Any) -> Any:
    return "none"
