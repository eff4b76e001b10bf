"""Run a compiled artifact from Python: `load("dist").run(x)`. Needs numpy and ctypes, no more."""

from edgeseq.runtime._bound import Bound
from edgeseq.runtime._dtypes import encode
from edgeseq.runtime._dtypes import memory as memory_type
from edgeseq.runtime._library import Library, host_target
from edgeseq.runtime._manifest import Manifest, Tensor
from edgeseq.runtime._manifest import read as read_manifest
from edgeseq.runtime._model import Model, load
from edgeseq.runtime._stream import Stream

__all__ = [
    "Bound",
    "Library",
    "Manifest",
    "Model",
    "Stream",
    "Tensor",
    "encode",
    "host_target",
    "load",
    "memory_type",
    "read_manifest",
]
