"""Whether a convolution of single pixels is faster with its zeros left out, and in which blocks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from edgeseq.kernels import spmm
from edgeseq.kernels._family import Kernel
from edgeseq.lower.select import Array
from edgeseq.lower.size import Size

# Time of a stored weight over that of a weight of the dense kernel, by the outputs of a block:
# MobileNet's shapes with AVX2 and AVX-512, the slower one.
_PRICE: Mapping[int, float] = {1: 4.5, 4: 2.6, 16: 2.0}
_AT_MOST = 0.85  # of the dense time, so that a pruned layer is never slower


@dataclasses.dataclass(frozen=True)
class Offer:
    """A sparse kernel, its packed weights, and why it pays."""

    kernel: Kernel
    packed: spmm.Packed
    why: str


def offer(weight: Array, sizes: Mapping[str, int]) -> Offer | None:
    """The sparse kernel for a convolution, if it is one of single pixels and sparse enough.

    Args:
        weight: [O, C, 1] or [O, C, 1, 1].
        sizes: Those of the convolution kernels.
    """
    single = ("KH", "KW", "SH", "SW", "G")
    pads = ("PT", "PL", "PB", "PR")
    if any(sizes[n] != 1 for n in single) or any(sizes[n] for n in pads):
        return None
    outputs, inputs = weight.shape[:2]
    matrix = weight.reshape(outputs, inputs)
    if not matrix.size or inputs > 1 << 16:
        return None
    shares = {rows: spmm.stored(matrix, rows) * rows / matrix.size for rows in spmm.ROWS}
    best = min(spmm.ROWS, key=lambda rows: shares[rows] * _PRICE[rows])
    if shares[best] * _PRICE[best] > _AT_MOST:
        return None
    kernel = next(k for k, rows in zip(spmm.KERNELS, spmm.ROWS, strict=True) if rows == best)
    why = f"{shares[best]:.0%} of the weights are in blocks of {best} x 1 that are not zero"
    return Offer(kernel, spmm.pack(matrix, best), why)


def sizes_of(sizes: Mapping[str, Size], blocks: int) -> dict[str, Size]:
    """The int parameters of the kernel, from those of a dense convolution."""
    kept = {n: sizes[n] for n in ("N", "O", "C", "act", "x_ns", "x_cs", "y_ns", "y_cs")}
    return {**kept, "P": sizes["H"] * sizes["W"], "blocks": Size.of(blocks)}


def read_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    """Strides with which rows are images or channels of x."""
    shape = (sizes["N"], sizes["C"], sizes["P"])
    return _rows("x", shape, count, row, stride) if index == 0 else None


def write_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    """Strides with which rows are images or channels of y."""
    shape = (sizes["N"], sizes["O"], sizes["P"])
    return _rows("y", shape, count, row, stride) if index == 0 else None


def _rows(
    name: str, shape: tuple[int, int, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    step, channels = stride // 4, shape[1]
    if stride % 4:
        return None
    if (count, row) == (shape[0], 4 * math.prod(shape[1:])):
        return {f"{name}_ns": step}
    if (count, row) == (shape[0] * channels, 4 * shape[2]):
        return {f"{name}_cs": step, f"{name}_ns": channels * step}
    return None
