"""The threads that share large layers: `load("dist", threads=2)`."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

from edgeseq.errors import UsageError
from edgeseq.runtime._manifest import Manifest


def check(manifest: Manifest, target: str, threads: int) -> None:
    """Raise a UsageError unless the target was compiled for several threads."""
    if threads < 1:
        raise UsageError(f"{threads} threads", why="the caller is one of them")
    if threads > 1 and manifest.targets[target].threads == 1:
        raise UsageError(
            f"target '{target}' of '{manifest.folder}' has no layers that threads share",
            why="it was compiled for one thread",
            fix=f"edgeseq compile ... --threads {threads}",
        )


class Pool:
    """The pool of `<m>_threads.c`; it is freed with this object.

    Args:
        cdll: The library that has it.
        name: The model's prefix.
        threads: The caller included.
    """

    def __init__(self, cdll: ctypes.CDLL, name: str, threads: int) -> None:
        new, free = (getattr(cdll, f"{name}_pool_{verb}") for verb in ("new", "free"))
        new.restype, new.argtypes = ctypes.c_void_p, [ctypes.c_int]
        free.restype, free.argtypes = None, [ctypes.c_void_p]
        self.pool: Any = new(threads)
        if not self.pool:
            raise UsageError(f"{threads} threads could not be started")
        self.run = ctypes.cast(getattr(cdll, f"{name}_pool_run"), ctypes.c_void_p)
        weakref.finalize(self, free, self.pool)
