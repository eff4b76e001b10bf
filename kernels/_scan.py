"""What the scan families share: sequences as rows of flat memory, and their test data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from edgeseq.kernels._family import UNTOUCHED, Array, Sizes


def extent(steps: int, streams: int, row: int, t: int, b: int) -> int:
    """Floats from the first to the last element of rows `t` apart in time and `b` in streams."""
    return (steps - 1) * t + (streams - 1) * b + row if steps and streams else 0


def spread(dense: Array, t: int, b: int, fill: float = UNTOUCHED) -> Array:
    """[T, B, ...] as flat memory: step i of stream j starts at `i * t + j * b`."""
    steps, streams = dense.shape[:2]
    rows = dense.reshape(steps, streams, -1) if dense.size else np.zeros((steps, streams, 0))
    flat = np.full(extent(steps, streams, rows.shape[2], t, b), fill, dense.dtype)
    for i in range(steps):
        for j in range(streams):
            flat[i * t + j * b :][: rows.shape[2]] = rows[i, j]
    return flat


def strides(name: str, row: int, steps: int, streams: int, layout: str) -> dict[str, int]:
    """`<name>_t` and `<name>_b` of rows that stand time first, batch first, or with gaps."""
    if layout == "batch first":
        return {f"{name}_t": row, f"{name}_b": max(steps, 1) * row}
    gap = 5 if layout == "gaps" else 0
    return {f"{name}_t": streams * (row + gap), f"{name}_b": row + gap}


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    """Normally distributed float32."""
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def as_double(arrays: dict[str, Array]) -> dict[str, Array]:
    """The arrays in float64."""
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def product(dims: Sequence[int]) -> int:
    """Number of elements."""
    return int(np.prod(dims, dtype=np.int64))


def flat_out(sizes: Sizes, row: int) -> tuple[int, ...]:
    """Shape of y as flat memory."""
    return (extent(sizes["T"], sizes["B"], row, sizes["y_t"], sizes["y_b"]),)
