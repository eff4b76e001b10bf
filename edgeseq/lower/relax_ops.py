"""ONNX operators -> Relax where TVM's importer is slower or less exact than need be.

Each converter takes (context, node, inputs) and returns a Relax expression.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir
from tvm import relax, te, tirx, topi

from edgeseq.lower.select import Shapes, constant, size, wanted


class Context(Protocol):
    """What a converter may use of the import."""

    builder: Any
    shapes: Shapes

    def dims(self, value: ir.Value | None) -> list[Any]:
        """Shape of a value as TIR expressions."""


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
    axes = _normalized_axes(node, inputs[0])
    epsilon = node.attributes.get_float("epsilon", 1e-5)

    def compute(x: Any, *affine: Any) -> Any:
        centred = topi.subtract(x, _mean(x, axes))
        return _affine(topi.multiply(centred, _inverse_root(centred, axes, epsilon)), affine)

    operands = [v for v in inputs if v is not None]
    y = context.builder.emit_te(compute, *operands)
    if not any(wanted(v) for v in node.outputs[1:]):
        return y

    def inverse(x: Any) -> Any:
        return _inverse_root(topi.subtract(x, _mean(x, axes)), axes, epsilon)

    mean = context.builder.emit_te(lambda x: _mean(x, axes), operands[0])
    return relax.Tuple([y, mean, context.builder.emit_te(inverse, operands[0])])


def _rms_norm(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    """RMSNormalization -> one kernel."""
    axes = _normalized_axes(node, inputs[0])
    epsilon = node.attributes.get_float("epsilon", 1e-5)

    def compute(x: Any, scale: Any) -> Any:
        return _affine(topi.multiply(x, _inverse_root(x, axes, epsilon)), (scale,))

    return context.builder.emit_te(compute, *inputs[:2])


def _normalized_axes(node: ir.Node, x: Any) -> list[int]:
    rank = len(x.ty.shape)
    return list(range(node.attributes.get_int("axis", -1) % rank, rank))


def _mean(x: Any, axes: list[int]) -> Any:
    count = functools.reduce(lambda a, b: a * b, [x.shape[a] for a in axes])
    return topi.sum(x, axis=axes, keepdims=True) / tirx.Cast(x.dtype, count)


def _inverse_root(x: Any, axes: list[int], epsilon: float) -> Any:
    """1 / sqrt(mean(x^2) + epsilon)."""
    mean = _mean(topi.multiply(x, x), axes)
    one, least = tirx.const(1, x.dtype), tirx.const(epsilon, x.dtype)
    return te.compute(mean.shape, lambda *i: one / tirx.sqrt(mean(*i) + least))


def _affine(y: Any, affine: Sequence[Any]) -> Any:
    if affine:
        y = topi.multiply(y, affine[0])
    return topi.add(y, affine[1]) if len(affine) > 1 else y


def _pow(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    """Pow in the type of the base."""
    base, exponent = inputs
    dtype = str(base.ty.dtype)
    if str(exponent.ty.dtype) != dtype:
        exponent = context.builder.emit(relax.op.astype(exponent, dtype))
    return relax.op.power(base, exponent)


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


def _gather(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    """Gather; an index outside the axis takes the nearest element, never foreign memory."""
    rank = len(context.shapes.of(node.inputs[0]))
    given = node.attributes.get("axis")
    axis = (0 if given is None else given.as_int()) % rank

    def compute(x: Any, indices: Any) -> Any:
        size, r = x.shape[axis], len(indices.shape)

        def element(*at: Any) -> Any:
            i = indices(*at[axis : axis + r]).astype("int64")
            i = tirx.max(tirx.min(tirx.Select(i < 0, i + size, i), size - 1), 0)
            return x(*at[:axis], i, *at[axis + r :])

        shape = [*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]]
        return te.compute(shape, element, name="gather")

    return context.builder.emit_te(compute, *inputs)


def _numbers(node: ir.Node, index: int) -> Sequence[int] | None:
    if index >= len(node.inputs) or node.inputs[index] is None:
        return None
    array = constant(node.inputs[index])
    if array is None:
        raise ValueError("the bounds are not constant")
    return [int(v) for v in array.reshape(-1)]


def _reshape(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    """Reshape to the shape that the pipeline found; the operand that says so is not computed."""
    return relax.op.reshape(inputs[0], context.dims(node.outputs[0]))


def _expand(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    return relax.op.broadcast_to(inputs[0], context.dims(node.outputs[0]))


def _constant_of_shape(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    given = node.attributes.get("value")
    value = np.zeros(1, np.float32) if given is None else given.as_tensor().numpy()
    fill = relax.const(value.reshape(()), str(value.dtype))
    return relax.op.full(context.dims(node.outputs[0]), fill, str(value.dtype))


def _range(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    """start, start + delta, ...: as many as the pipeline found; the limit is not computed."""
    start, delta = (_scalar(node, index) for index in (0, 2))
    (count,) = context.dims(node.outputs[0])
    dtype = str(start.dtype)
    whole = relax.op.arange(0, count, 1, "int64")
    steps = whole if dtype == "int64" else relax.op.astype(whole, dtype)
    scaled = relax.op.multiply(steps, relax.const(delta, dtype))
    return relax.op.add(scaled, relax.const(start, dtype))


def _scalar(node: ir.Node, index: int) -> Any:
    array = constant(node.inputs[index])
    if array is None:
        raise ValueError(f"{'start' if index == 0 else 'step'} is not constant")
    return array.reshape(())


def _cast_like(context: Context, node: ir.Node, inputs: list[Any]) -> Any:
    return relax.op.astype(inputs[0], str(inputs[1].ty.dtype))


# Operators of which only so many operands are computed: the shape of their result is known.
SHAPED: Mapping[str, int] = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0, "Range": 0}

OPS: Mapping[str, Callable[..., Any]] = {
    "CastLike": _cast_like,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Gather": _gather,
    "LayerNormalization": _layer_norm,
    "Max": _fold(relax.op.maximum),
    "Min": _fold(relax.op.minimum),
    "PRelu": _prelu,
    "Pow": _pow,
    "RMSNormalization": _rms_norm,
    "Range": _range,
    "Reshape": _reshape,
    "Slice": _slice,
    "Softplus": _softplus,
    "Sum": _fold(relax.op.add),
}
