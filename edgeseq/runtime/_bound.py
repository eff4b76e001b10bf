"""A call with its arguments prepared once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from edgeseq.runtime import _call
from edgeseq.runtime._library import Library
from edgeseq.runtime._manifest import Manifest

Array = npt.NDArray[Any]


class Bound:
    """One step, or one chunk, of a stream: no checks, no conversion, no allocation.

    `inputs` and `outputs` are arrays by name in the types of memory (bfloat16 as uint16).
    `function` and `arguments` are the C function and what it is called with.
    """

    def __init__(
        self,
        manifest: Manifest,
        library: Library,
        state: Array,
        function: Callable[..., int],
        steps: int | None = None,
        scratch: Array | None = None,
    ) -> None:
        if scratch is None:
            scratch = _call.aligned(int(library.arena_size(1 if steps is None else steps)))
        self._made_of = (manifest, library, state, function, steps, scratch)  # keeps them alive
        inputs, outputs = _call.inputs(manifest, steps), _call.outputs(manifest, steps)
        self.inputs: Mapping[str, Array] = dict(
            zip((t.name for t in manifest.inputs), inputs, strict=True)
        )
        self.outputs: Mapping[str, Array] = dict(
            zip((t.name for t in manifest.outputs), outputs, strict=True)
        )
        self.function = function
        count = () if steps is None else (ctypes.c_int64(steps),)
        places = _call.pointers([*inputs, *outputs])
        self.arguments: tuple[Any, ...] = (
            *map(ctypes.c_void_p, _call.pointers([state, scratch])),
            *count,
            *map(ctypes.c_void_p, places),
        )

    def twin(self) -> Bound:
        """Return the same call of the same stream with inputs and outputs of its own."""
        return Bound(*self._made_of)

    def __call__(self) -> None:
        """Advance the stream."""
        code = self.function(*self.arguments)
        if code:
            self._made_of[1].check(code, "step or run")
