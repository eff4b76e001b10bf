"""ONNX operators -> Relax where TVM's importer is slower or less exact than need be.

Each converter takes (context, node, inputs) and returns a Relax expression.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import onnx_ir as ir
from tvm import relax, te, tirx, topi

from edgeseq.lower.select import Shapes, constant, size


class Context(Protocol):
    """What a converter may use of the import."""

    builder: Any
    shapes: Shapes


def _fold(op: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Variadic ONNX operator -> a chain of binary ones (TVM's importer stacks and reduces)."""

    def convert(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
        return functools.reduce(lambda a, b: context.builder.emit(op(a, b)), inputs)

    return convert


def _prelu(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    """PRelu(x, s) -> where(x > 0, x, s * x); topi's own does not fuse behind a convolution."""
    x, slope = inputs
    zero = relax.const(0, str(x.ty.dtype))
    positive = context.builder.emit(relax.op.greater(x, zero))
    scaled = context.builder.emit(relax.op.multiply(slope, x))
    return relax.op.where(positive, x, scaled)


def _layer_norm(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    """LayerNormalization -> one kernel, mean first and then the variance of x - mean.

    topi computes E[x^2] - E[x]^2, which cancels where the mean is large.
    """
    axis = node.attributes.get_int("axis", -1)
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    rank = len(inputs[0].ty.shape)
    first = axis % rank

    def compute(x: Any, *affine: Any) -> Any:
        axes = list(range(first, rank))
        count = functools.reduce(lambda a, b: a * b, [x.shape[a] for a in axes])
        mean = topi.sum(x, axis=axes, keepdims=True) / tirx.Cast(x.dtype, count)
        centred = topi.subtract(x, mean)
        squares = topi.sum(topi.multiply(centred, centred), axis=axes, keepdims=True)
        variance = squares / tirx.Cast(x.dtype, count)
        inverse = te.compute(
            variance.shape,
            lambda *i: (
                tirx.const(1, x.dtype) / tirx.sqrt(variance(*i) + tirx.const(epsilon, x.dtype))
            ),
        )
        out = topi.multiply(centred, inverse)
        if affine:
            out = topi.multiply(out, affine[0])
        if len(affine) > 1:
            out = topi.add(out, affine[1])
        return out

    return context.builder.emit_te(compute, *[v for v in inputs if v is not None])


def _softplus(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    """Softplus(x) -> max(x, 0) + log1p(exp(-|x|)): no overflow, no loss for negative x."""
    x = inputs[0]
    small = context.builder.emit(relax.op.exp(relax.op.negative(relax.op.abs(x))))
    tail = context.builder.emit_te(
        lambda v: te.compute(v.shape, lambda *i: tirx.log1p(v(*i))), small
    )
    return relax.op.add(relax.op.maximum(x, relax.const(0, str(x.ty.dtype))), tail)


def _slice(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    """Slice with constant bounds; a negative one counts from the end, which may depend on time."""
    starts, _, axes, steps = (_numbers(node, i) for i in range(1, 5))
    if starts is None:
        raise ValueError("the bounds are not constant")
    axes = axes if axes is not None else list(range(len(starts)))
    steps = steps if steps is not None else [1] * len(starts)
    before, after = context.shapes.of(node.inputs[0]), context.shapes.of(node.outputs[0])
    by_axis = {a % len(before): (s, k) for s, a, k in zip(starts, axes, steps, strict=True)}

    def compute(x: Any) -> Any:
        shape = [_length(x.shape[a], before[a], after[a]) for a in range(len(before))]
        bounds = [
            (_first(*by_axis[a], x.shape[a]), by_axis[a][1]) if a in by_axis else (0, 1)
            for a in range(len(before))
        ]
        return te.compute(
            shape,
            lambda *i: x(*(f + s * k for (f, s), k in zip(bounds, i, strict=True))),
            name="slice",
        )

    return context.builder.emit_te(compute, inputs[0])


def _length(own: Any, before: int | str, after: int | str) -> Any:
    """A sliced axis' length in terms of the tensor's own symbol."""
    if isinstance(after, int):
        return after
    short, long = (size(after).at({"T": t}) - size(before).at({"T": t}) for t in (1000, 2000))
    if short != long:
        raise ValueError(f"a slice from {before} to {after} steps over a length that is not known")
    return own + short


def _first(start: int, step: int, dim: Any) -> Any:
    """Index of the first element; bounds outside the axis are clamped as ONNX says."""
    known = isinstance(dim, (int, tirx.IntImm))
    if known:
        last = int(dim) - 1
        start = start + int(dim) if start < 0 else start
        return max(min(start, last if step < 0 else int(dim)), 0)
    if start < 0:
        return dim + start
    return dim - 1 if step < 0 and start > 1 << 30 else start


def _numbers(node: ir.Node, index: int) -> Sequence[int] | None:
    if index >= len(node.inputs) or node.inputs[index] is None:
        return None
    array = constant(node.inputs[index])
    if array is None:
        raise ValueError("the bounds are not constant")
    return [int(v) for v in array.reshape(-1)]


OPS: Mapping[str, Callable[..., Any]] = {
    "LayerNormalization": _layer_norm,
    "Max": _fold(relax.op.maximum),
    "Min": _fold(relax.op.minimum),
    "PRelu": _prelu,
    "Slice": _slice,
    "Softplus": _softplus,
    "Sum": _fold(relax.op.add),
}
