"""Dimensions as functions of time, found by sampling: `3, 4, 7 at T = 1, 2, 5` -> `T + 2`.

ONNX describes shapes by running code (Shape, Gather, Concat, Reshape, ...). That code is exact for
one length of time, so it is run for several lengths and the dimension is the quotient
`(a*T + b) // c` through all of them. The samples hold both ends of the declared range and
neighbours of the lower one, where strides and kernels make a difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx_ir as ir

from edgeseq.ir import facts

_OFFSETS = (0, 1, 2, 3, 6, 13, 40)
_LARGEST_DIVISOR = 512


@dataclasses.dataclass(frozen=True)
class Samples:
    """The lengths at which shapes are computed.

    Args:
        symbol: The name of the time dimension, or None when all shapes are static.
        points: Lengths, ascending; a single arbitrary one when all shapes are static.
    """

    symbol: str | None
    points: tuple[int, ...]

    @staticmethod
    def of(model: ir.Model) -> Samples:
        """Return the samples that the model's `DimRange` asks for."""
        span = facts.get(model, facts.DimRange)
        if span is None:
            return Samples(None, (1,))
        inside = {span.low + step for step in _OFFSETS if span.low + step < span.high}
        return Samples(span.symbol, (*sorted(inside), span.high))

    def values(self, dim: int | ir.SymbolicDim) -> tuple[int, ...] | None:
        """Evaluate a dimension at every point; None when it holds another symbol."""
        if isinstance(dim, int):
            return (dim,) * len(self.points)
        if dim.value is None or self.symbol is None:
            return None
        if dim.value == self.symbol:
            return self.points
        if dim.free_symbols() != {self.symbol}:
            return None
        return tuple(int(dim.evaluate({self.symbol: point})) for point in self.points)

    def shape_values(self, shape: ir.Shape) -> tuple[tuple[int, ...], ...] | None:
        """Evaluate a shape at every point, one tuple a point."""
        columns = [self.values(dim) for dim in shape]
        if any(column is None for column in columns):
            return None
        return tuple(tuple(c[i] for c in columns if c) for i in range(len(self.points)))

    def dim(self, values: Sequence[int]) -> int | ir.SymbolicDim | None:
        """Return the dimension that has these values at the points; None when there is none."""
        if len(set(values)) == 1:
            return values[0]
        fit = _fit(self.points, values)
        if fit is None or self.symbol is None:
            return None
        return ir.SymbolicDim(_render(self.symbol, *fit))

    def shape(self, values: Sequence[Sequence[int]]) -> ir.Shape:
        """Return the shape that has these values at the points (unknown where none fits)."""
        return ir.Shape([self.dim(column) for column in zip(*values, strict=True)])


def _fit(points: Sequence[int], values: Sequence[int]) -> tuple[int, int, int] | None:
    """Find a, b and the smallest c with `value == (a*point + b) // c` at all points."""
    rise, run = values[-1] - values[0], points[-1] - points[0]
    for c in range(1, _LARGEST_DIVISOR):
        a = round(rise * c / run)
        low = max(c * y - a * t for t, y in zip(points, values, strict=True))
        high = min(c * y + c - 1 - a * t for t, y in zip(points, values, strict=True))
        if low <= high:
            return a, low, c
    return None


def _render(symbol: str, a: int, b: int, c: int) -> str:
    text = symbol if a == 1 else f"{a}*{symbol}"
    if b:
        text += f" {'+' if b > 0 else '-'} {abs(b)}"
    if c == 1:
        return text
    return f"({text})//{c}" if b or a != 1 else f"{text}//{c}"
