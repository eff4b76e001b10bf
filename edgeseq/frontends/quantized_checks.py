"""Scales and zero points of a model that comes quantized: what cannot be right is said at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgeseq.errors import UsageError
from edgeseq.ir import dialect
from edgeseq.ir.edit import Array, data_of
from edgeseq.ir.infer import describe
from edgeseq.ir.passes import walk

# Of each operator: its triples of levels, scale and zero point; None: the levels are its result.
_TRIPLES: dict[str, tuple[tuple[int | None, int, int], ...]] = {
    "DequantizeLinear": ((0, 1, 2),),
    "QLinearConv": ((0, 1, 2), (3, 4, 5), (None, 6, 7)),
    "QLinearMatMul": ((0, 1, 2), (3, 4, 5), (None, 6, 7)),
    "QuantizeLinear": ((None, 1, 2),),
}
_WIDE = frozenset({ir.DataType.INT32})  # levels of sums, which have no zero point


def check(model: ir.Model) -> None:
    """Look at all scales and zero points that are constant.

    Raises:
        UsageError: lists all that are wrong, with their nodes.
    """
    problems = [f"{describe(n)}: {text}" for n in walk(model.graph) for text in _problems(n)]
    if problems:
        raise UsageError(
            "the model is quantized with scales or zero points that cannot be right",
            at=problems,
            why="a scale is a positive number, a zero point one of the levels it shifts",
            fix="quantize the model again; the tool that wrote it may say why",
        )


def _problems(node: ir.Node) -> Iterator[str]:
    if node.domain == dialect.DOMAIN and node.op_type in dialect.OPS:
        yield from _of_call(node)
    if node.domain:
        return
    for x, scale, zero in _TRIPLES.get(node.op_type, ()):
        values = [
            node.inputs[i] if i is not None and i < len(node.inputs) else None
            for i in (x, scale, zero)
        ]
        yield from _of_scale(values[1], zero_ok=x is not None)
        yield from _of_zero(node, *values)


def _of_scale(value: ir.Value | None, *, zero_ok: bool) -> Iterator[str]:
    """A scale of 0 is harmless where it only multiplies: a row of weights that are all zero."""
    data = data_of(value)
    if data is None or value is None or not data.size:
        return
    numbers = data.astype(np.float64)
    bad = ~np.isfinite(numbers) | ((numbers < 0) if zero_ok else (numbers <= 0))
    if bad.any():
        yield f"scale '{value.name}' is {numbers[bad].flat[0]:g}"


def _of_zero(
    node: ir.Node, x: ir.Value | None, scale: ir.Value | None, zero: ir.Value | None
) -> Iterator[str]:
    kind = _levels_type(node, x)
    if zero is None or zero.dtype is None:
        return
    if kind is not None and zero.dtype != kind:
        yield f"zero point '{zero.name}' is {zero.dtype.name}, the levels are {kind.name}"
    points, scales = data_of(zero), data_of(scale)
    if points is not None and zero.dtype in _WIDE and points.any():
        yield f"zero point '{zero.name}' of 32 bits is {points[points != 0].flat[0]}, not 0"
    if points is not None and scales is not None and points.size != scales.size:
        yield f"zero point '{zero.name}' has {points.size} numbers, its scale has {scales.size}"
    yield from _of_count(node, x, scales)


def _of_count(node: ir.Node, x: ir.Value | None, scales: Array | None) -> Iterator[str]:
    """Scales of an axis are as many as it is long."""
    plain = node.op_type == "DequantizeLinear" and not node.attributes.get_int("block_size", 0)
    if not plain or x is None or x.shape is None or scales is None or scales.size == 1:
        return
    axis, rank = node.attributes.get_int("axis", 1), len(x.shape)
    length = x.shape[axis] if -rank <= axis < rank else None
    if isinstance(length, int) and length != scales.size:
        yield f"{scales.size} scales for axis {axis} of '{x.name}', which is {length} long"


def _levels_type(node: ir.Node, x: ir.Value | None) -> ir.DataType | None:
    if x is not None:
        return x.dtype
    given = node.attributes.get_int("output_dtype", 0)
    return ir.DataType(given) if given else None


def _of_call(node: ir.Node) -> Iterator[str]:
    get = node.attributes
    for name in ("x_scale", "h_scale"):
        scale = get.get_float(name, 0.0)
        if not np.isfinite(scale) or scale < 0:
            yield f"{name} is {scale:g}"
    top, zero = get.get_int("x_top", dialect.TOP), get.get_int("x_zero_point", 127)
    if not 0 <= zero <= top:
        yield f"x_zero_point is {zero}, outside of 0 to {top}"
