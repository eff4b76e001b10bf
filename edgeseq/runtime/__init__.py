"""Run a compiled artifact from Python: `load("dist").run(x)`. Needs numpy and ctypes, no more."""

from edgeseq.runtime._bound import Bound
from edgeseq.runtime._library import host_target
from edgeseq.runtime._manifest import read as read_manifest
from edgeseq.runtime._model import Model, load
from edgeseq.runtime._stream import Stream

__all__ = ["Bound", "Model", "Stream", "host_target", "load", "read_manifest"]
