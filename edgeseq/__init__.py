"""edgeseq: compile trained sequence models into tiny, dependency-free streaming libraries.

`load` needs numpy alone. Everything that compiles is imported when it is first used, so that
`import edgeseq` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseq.api import compile as compile
    from edgeseq.runtime import Model as Model
    from edgeseq.runtime import Stream as Stream
    from edgeseq.runtime import load as load

__version__ = "0.1.0"

_HOMES = {
    "compile": "edgeseq.api",
    "load": "edgeseq.runtime",
    "Model": "edgeseq.runtime",
    "Stream": "edgeseq.runtime",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeseq' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
