"""The constants of all entries of a model, each content once, in one blob."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.lower.arena import Layout, align
from edgeseq.lower.program import Buffer, LoopCall

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Weights:
    """Distinct arrays and where each stands in the blob.

    Args:
        arrays: In order of first use.
        offsets: Byte offset of each in the blob, a multiple of 64.
        index: Buffer -> its array.
    """

    arrays: tuple[Array, ...]
    offsets: tuple[int, ...]
    index: Mapping[Buffer, int]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays alone."""
        return sum(a.nbytes for a in self.arrays)

    def blob(self) -> bytes:
        """All arrays, each at its offset."""
        out = bytearray()
        for array, offset in zip(self.arrays, self.offsets, strict=True):
            out += bytes(offset - len(out)) + array.tobytes()
        return bytes(out)


def collect(layouts: Iterable[Layout]) -> Weights:
    """Gather the constants of several programs; `step` and `run` share theirs."""
    arrays: list[Array] = []
    offsets: list[int] = []
    seen: dict[bytes, int] = {}
    index: dict[Buffer, int] = {}
    end = 0
    for layout in _with_bodies(layouts):
        for buffer in layout.constants:
            assert buffer.constant is not None
            array = np.ascontiguousarray(buffer.constant)
            digest = hashlib.sha256(f"{array.dtype}".encode() + array.tobytes()).digest()
            if digest not in seen:
                seen[digest] = len(arrays)
                arrays.append(array)
                offsets.append(end)
                end = align(end + array.nbytes)
            index[buffer] = seen[digest]
    return Weights(tuple(arrays), tuple(offsets), index)


def _with_bodies(layouts: Iterable[Layout]) -> Iterator[Layout]:
    for layout in layouts:
        yield layout
        yield from _with_bodies(c.body.layout for c in layout.calls if isinstance(c, LoopCall))
