"""Where the channels of values go, through operators that a scale of each channel passes.

Channels are arrays of numbers of the shape of a value; -1 is none, and is never scaled. An operator
that is not here, or that mixes channels, has no rule: `apply` returns None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeseq.ir.edit import axis_of, data_of
from edgeseq.quantize.layers import Array

_SOME = 3  # stands for a symbolic dimension: channels do not depend on time
Inputs = Sequence[Array | None]
Rule = Callable[[ir.Node, Inputs], Sequence[Any] | None]

MOVES = ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice", "Pad")
_PLAIN = ("Identity", "Relu", "LeakyRelu", "Neg", "Abs", "PRelu")
_POOLS = ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "Resize")
_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2")


def shape(value: ir.Value) -> tuple[int, ...] | None:
    """The shape of a value, a few steps standing for all."""
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else _SOME for d in value.shape)


def shrunk(channels: Array) -> Array:
    """The same channels with axes of size 1 where they do not differ."""
    for axis in range(channels.ndim):
        first = channels.take([0], axis)
        channels = first if (channels == first).all() else channels
    return channels


def one_axis(channels: Array, axis: int) -> Array | None:
    """The channels along one axis, if they differ along no other."""
    small = shrunk(channels)
    if any(size > 1 for i, size in enumerate(small.shape) if i != axis):
        return None
    return np.broadcast_to(small.reshape(-1), (channels.shape[axis],))


def apply(node: ir.Node, inputs: Inputs) -> list[Array] | None:
    """Return the channels of a node's outputs, or None where a scale does not pass."""
    rule = _RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    wanted = [shape(output) for output in node.outputs]
    found = None if rule is None or None in wanted else rule(node, inputs)
    if found is None or len(found) != len(wanted):
        return None
    try:
        return [np.broadcast_to(f, w) for f, w in zip(found, wanted, strict=True) if w is not None]
    except ValueError:  # a shape in which time and another axis are one
        return None


def _plain(_: ir.Node, inputs: Inputs) -> Sequence[Any] | None:
    return None if inputs[0] is None or any(x is not None for x in inputs[1:]) else [inputs[0]]


def _product(node: ir.Node, inputs: Inputs) -> Sequence[Any] | None:
    """Of one factor that has channels; a divisor's would pass inverted."""
    known = [one for one in inputs if one is not None]
    if len(known) != 1 or (node.op_type == "Div" and inputs[0] is None):
        return None
    return known


def _sum(_: ir.Node, inputs: Inputs) -> Sequence[Any] | None:
    """Of values that have the same channels."""
    known = [one for one in inputs if one is not None]
    if len(known) < len(inputs) or any(not _equal(known[0], one) for one in known[1:]):
        return None
    return [np.broadcast_arrays(*known)[0]]


def _equal(a: Array, b: Array) -> bool:
    return bool((np.broadcast_arrays(a, b)[0] == np.broadcast_arrays(a, b)[1]).all())


def _moved(how: Callable[[ir.Node, Array], Array | None]) -> Rule:
    """A rule of an operator that moves the elements of its first input."""

    def rule(node: ir.Node, inputs: Inputs) -> Sequence[Any] | None:
        if inputs[0] is None or any(one is not None for one in inputs[1:]):
            return None
        try:
            found = how(node, inputs[0])
        except (ValueError, IndexError):  # the steps that stand for all do not fit
            return None
        return None if found is None else [found]

    return rule


def _reshaped(node: ir.Node, channels: Array) -> Array | None:
    wanted = shape(node.outputs[0])
    return None if wanted is None else channels.reshape(wanted)


def _transposed(node: ir.Node, channels: Array) -> Array:
    axes = node.attributes.get_ints("perm", ())
    return channels.transpose(tuple(axes) or None)


def _pooled(node: ir.Node, channels: Array) -> Array | None:
    """Axes behind the second shrink or grow; the channels must not differ along them."""
    wanted = shape(node.outputs[0])
    small = shrunk(channels)
    if wanted is None or any(size > 1 for size in small.shape[2:]):
        return None
    return small if wanted[:2] == channels.shape[:2] else None


def _reduced(node: ir.Node, channels: Array) -> Array | None:
    given = data_of(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = range(channels.ndim) if given is None else [int(a) for a in given.reshape(-1)]
    for axis in axes:
        if shrunk(channels).shape[axis] > 1:
            return None
        channels = channels.take([0], axis)
    return _reshaped(node, channels)


def _padded(node: ir.Node, channels: Array) -> Array | None:
    """Zeros may be of any channel: they take that of their neighbour."""
    pads = data_of(node.inputs[1])
    fill = data_of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(1)
    mode = node.attributes.get_string("mode", "constant")
    if (
        pads is None
        or len(node.inputs) > 3
        or (mode == "constant" and (fill is None or fill.any()))
    ):
        return None
    if (pads < 0).any():
        return None
    amounts = list(zip(*np.split(pads, 2), strict=True))
    how: Any = "edge" if mode == "constant" else mode
    return np.pad(channels, amounts, how)


def _sliced(node: ir.Node, channels: Array) -> Array | None:
    given = [data_of(value) for value in node.inputs[1:]]
    if any(one is None for one in given):
        return None
    starts, ends, *more = (one.tolist() for one in given if one is not None)
    axes = more[0] if more else list(range(len(starts)))
    steps = more[1] if len(more) > 1 else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        bounds = slice(start, None if step < 0 and end < -channels.shape[axis] else end, step)
        channels = channels[tuple([slice(None)] * (axis % channels.ndim) + [bounds])]
    return channels


def _gathered(node: ir.Node, channels: Array) -> Array | None:
    index = data_of(node.inputs[1])
    return None if index is None else channels.take(index, axis_of(node, 0, channels.ndim))


def _concatenated(node: ir.Node, inputs: Inputs) -> Sequence[Any] | None:
    """What has no channels takes part as none."""
    sizes = [None if value is None else shape(value) for value in node.inputs]
    if any(size is None for size in sizes):
        return None
    whole = [
        np.full(size, -1) if one is None and size is not None else one
        for one, size in zip(inputs, sizes, strict=True)
    ]
    rank = len(sizes[0] or ())
    return [np.concatenate([one for one in whole if one is not None], axis_of(node, 0, rank))]


def _split(node: ir.Node, inputs: Inputs) -> Sequence[Any] | None:
    if inputs[0] is None:
        return None
    axis = axis_of(node, 0, inputs[0].ndim)
    sizes = [(shape(output) or (0,) * inputs[0].ndim)[axis] for output in node.outputs]
    return np.split(inputs[0], np.cumsum(sizes)[:-1], axis)


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_PLAIN, _plain),
    **dict.fromkeys(("Mul", "Div"), _product),
    **dict.fromkeys(("Add", "Sub", "Sum", "Max", "Min"), _sum),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _moved(_reshaped)),
    **dict.fromkeys(_POOLS, _moved(_pooled)),
    **dict.fromkeys(_REDUCTIONS, _moved(_reduced)),
    "Transpose": _moved(_transposed),
    "Expand": _moved(
        lambda node, channels: np.broadcast_to(channels, shape(node.outputs[0]) or ())
    ),
    "Pad": _moved(_padded),
    "Slice": _moved(_sliced),
    "Gather": _moved(_gathered),
    "Concat": _concatenated,
    "Split": _split,
}
