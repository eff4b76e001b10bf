"""Recognises matrices that compute the spectrum of a windowed frame, or a frame of its spectrum.

Without complex numbers a transform is a convolution or a product with sampled waves; so exporters
and model authors write it, and a fast transform may compute it (`edgeseq/lower/select_fourier.py`).
Here a matrix is one to the last digit of float32; `filter_banks` tells what only looks like one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import data_of

Array = npt.NDArray[Any]

FAST = "a fast Fourier transform computes it"

# Entries of the matrix, from which on a fast transform is faster.
_LEAST = 64 * 64
# Of the window's largest number. Waves that were sampled in float32 differ by some 1e-7 from ours;
# some were sampled so carelessly (angles of thousands of turns in float32) that they are others.
TOLERANCE = 2e-6


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the parts of bin k lie among the rows of a matrix.

    Args:
        bins: How many bins, from 0 Hz on.
        step: Rows from one bin to the next.
        re_at: Row of the first real part; -1: there are none.
        im_at: Row of the first imaginary part; -1: there are none.
    """

    bins: int
    step: int
    re_at: int
    im_at: int

    def part(self, matrix: Array, first: int) -> Array | None:
        """The rows of one part."""
        return None if first < 0 else matrix[first :: self.step][: self.bins]


@dataclasses.dataclass(frozen=True, eq=False)
class Transform:
    """A matrix `[rows, K]`; its rows are windowed waves.

    Args:
        points: N of exp(-2 pi i n k / N).
        layout: Of the rows.
        sign: -1 where the imaginary parts are those of the conjugate.
        window: What the waves are multiplied by, float64 `[K]`, K <= N.
        scale: What row k is multiplied by besides, float64 `[bins]`.
    """

    points: int
    layout: Layout
    sign: int
    window: Array
    scale: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A node that is a fast transform, and which way it goes."""

    transform: Transform
    inverse: bool


def of_node(node: ir.Node) -> Layer | None:
    """The fast transform that a product or a convolution of one channel is, if it is one.

    What depends on the shape of its input is not looked at: an image of several lines.
    """
    weight = data_of(node.inputs[1]) if len(node.inputs) > 1 else None
    plain = node.domain in ("", "ai.onnx") and all(map(_adds_nothing, node.inputs[2:]))
    if weight is None or weight.dtype != np.float32 or not plain:
        return None
    get = node.attributes.get_int
    if node.op_type in ("MatMul", "Gemm"):
        if weight.ndim != 2 or get("transA", 0) or node.attributes.get_float("alpha", 1.0) != 1.0:
            return None
        matrix = weight.T if get("transB", 0) else weight
        forth = _forth(matrix.T)
        return _layer(forth, inverse=False) or _layer(_back(matrix), inverse=True)
    if node.op_type not in ("Conv", "ConvTranspose") or set(weight.shape[1:-1]) != {1}:
        return None
    if get("group", 1) != 1 or set(node.attributes.get_ints("dilations", ())) - {1}:
        return None
    rows = weight.reshape(len(weight), -1)
    if node.op_type == "ConvTranspose":
        return _layer(_back(rows), inverse=True)
    return _layer(_forth(rows), inverse=False)


def _layer(found: Transform | None, *, inverse: bool) -> Layer | None:
    return None if found is None else Layer(found, inverse)


def _adds_nothing(bias: ir.Value | None) -> bool:
    added = data_of(bias)
    return bias is None or (added is not None and not added.any())


def _forth(matrix: Array) -> Transform | None:
    """`matrix @ frame` is a spectrum, `matrix` being [parts of bins, samples]."""
    found = _fast(matrix)
    return found if found is not None and np.abs(found.scale - 1).max() <= TOLERANCE else None


def _back(matrix: Array) -> Transform | None:
    """`spectrum @ matrix` is a frame, `matrix` being [parts of bins, samples]."""
    found = _fast(matrix)
    whole = found is not None and min(found.layout.re_at, found.layout.im_at) >= 0
    return found if whole else None


def _fast(matrix: Array) -> Transform | None:
    found = recognise(matrix) if matrix.size >= _LEAST else None
    return found if found is not None and _smooth(found.points) else None


def _smooth(number: int) -> bool:
    """Whether it has no prime factors but 2, 3 and 5."""
    for prime in (2, 3, 5):
        while number % prime == 0:
            number //= prime
    return number == 1


def recognise(matrix: Array) -> Transform | None:
    """What transform a matrix `[rows, K]` is, forth (`matrix @ frame`) or back (transposed)."""
    if matrix.ndim != 2 or min(matrix.shape) < 3 or not np.issubdtype(matrix.dtype, np.floating):
        return None
    largest = float(np.abs(matrix).max())
    if not np.isfinite(largest) or largest == 0:
        return None
    for layout in _layouts(len(matrix)):
        for points in _points(layout.bins, matrix.shape[1]):
            found = _fit(matrix, layout, points, largest)
            if found is not None:
                return found
    return None


def _layouts(rows: int) -> Iterator[Layout]:
    if rows % 2 == 0:
        bins = rows // 2
        yield Layout(bins, 1, 0, bins)
        yield Layout(bins, 2, 0, 1)
        yield Layout(bins, 1, bins, 0)
    yield Layout(rows, 1, 0, -1)
    yield Layout(rows, 1, -1, 0)


def _points(bins: int, window: int) -> list[int]:
    """Even lengths that a transform may have: the window's, what the bins say, a power of two."""
    likely = {window, 2 * (bins - 1), 2 * bins, 1 << (window - 1).bit_length()}
    return sorted(n for n in likely if n >= window and n % 2 == 0 and n // 2 + 1 >= bins)


def _fit(matrix: Array, layout: Layout, points: int, largest: float) -> Transform | None:
    """The transform of so many points, if the matrix is one."""
    re, im = layout.part(matrix, layout.re_at), layout.part(matrix, layout.im_at)
    error = TOLERANCE * largest
    if im is not None and np.abs(im[0]).max() > error:  # sin(0)
        return None
    for count in (2, layout.bins):  # one bin tells most other matrices apart
        turns = np.outer(np.arange(count), np.arange(matrix.shape[1])) % points
        waves = np.exp(-2j * np.pi * turns / points)
        window = _mean(im, waves.imag, count) if re is None else re[0]
        waves *= window
        sign = -1 if im is not None and (im[:count] * waves.imag).sum() < 0 else 1
        parts = [(re, waves.real), (im, sign * waves.imag)]
        pairs = [(own[:count].astype(np.float64), wave) for own, wave in parts if own is not None]
        power = sum((wave**2).sum(axis=1) for _, wave in pairs)
        shared = sum((own * wave).sum(axis=1) for own, wave in pairs)
        scale = np.where(power > error**2, shared / np.maximum(power, error**2), 1.0)
        if max(np.abs(own - scale[:, None] * wave).max() for own, wave in pairs) > error:
            return None
    return Transform(points, layout, sign, window, scale)


def _mean(rows: Array | None, waves: Array, count: int) -> Array:
    """The window with which the waves come closest to these rows; 0 where no wave tells."""
    assert rows is not None
    power = (waves**2).sum(axis=0)
    shared = (rows[:count] * waves).sum(axis=0)
    return np.where(power > 1e-9, shared / np.maximum(power, 1e-9), 0.0)
