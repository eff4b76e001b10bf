"""Run a compiled artifact from Python: `load("dist").run(x)`. Needs numpy and ctypes, no more."""

from edgeseq.runtime._model import Model, load
from edgeseq.runtime._stream import Bound, Stream

__all__ = ["Bound", "Model", "Stream", "load"]
