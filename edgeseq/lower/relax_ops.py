"""ONNX operators -> Relax where TVM's importer is slower or less exact than need be.

Each converter takes (builder, node, inputs, shapes) and returns a Relax expression.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir
from tvm import relax, te, tirx, topi


def _fold(op: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Variadic ONNX operator -> a chain of binary ones (TVM's importer stacks and reduces)."""

    def convert(builder: Any, node: ir.Node, inputs: list[Any], shapes: Any) -> Any:
        return functools.reduce(lambda a, b: builder.emit(op(a, b)), inputs)

    return convert


def _prelu(builder: Any, node: ir.Node, inputs: list[Any], shapes: Any) -> Any:
    """PRelu(x, s) -> where(x > 0, x, s * x); topi's own does not fuse behind a convolution."""
    x, slope = inputs
    zero = relax.const(0, str(x.ty.dtype))
    positive = builder.emit(relax.op.greater(x, zero))
    scaled = builder.emit(relax.op.multiply(slope, x))
    return relax.op.where(positive, x, scaled)


def _layer_norm(builder: Any, node: ir.Node, inputs: list[Any], shapes: Any) -> Any:
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
            lambda *i: tirx.const(1, x.dtype) / tirx.sqrt(variance(*i) + tirx.const(epsilon, x.dtype)),
        )
        out = topi.multiply(centred, inverse)
        if affine:
            out = topi.multiply(out, affine[0])
        if len(affine) > 1:
            out = topi.add(out, affine[1])
        return out

    return builder.emit_te(compute, *[v for v in inputs if v is not None])


def _softplus(builder: Any, node: ir.Node, inputs: list[Any], shapes: Any) -> Any:
    """Softplus(x) -> max(x, 0) + log1p(exp(-|x|)): no overflow, no loss for negative x."""
    x = inputs[0]
    small = builder.emit(relax.op.exp(relax.op.negative(relax.op.abs(x))))
    tail = builder.emit_te(lambda v: te.compute(v.shape, lambda *i: tirx.log1p(v(*i))), small)
    return relax.op.add(relax.op.maximum(x, relax.const(0, str(x.ty.dtype))), tail)


OPS: Mapping[str, Callable[..., Any]] = {
    "LayerNormalization": _layer_norm,
    "Max": _fold(relax.op.maximum),
    "Min": _fold(relax.op.minimum),
    "PRelu": _prelu,
    "Softplus": _softplus,
    "Sum": _fold(relax.op.add),
}
