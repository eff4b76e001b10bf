"""`Conv1x1(shifted copies of x) -> Conv(x)` with a wider kernel; exact but for summation order.

Unfolding written with Pad, Gather, Slice, Concat, Transpose and Reshape puts neighbours of a pixel
into its channels; a 1x1 convolution of that is a convolution of the pixels themselves. Which
element ends up where is found by sending element numbers through those operators, so any way of
writing it is recognised. Refused where the border is not the zeros a convolution would see, and
where the wider kernel would multiply more.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of, static_shape
from edgeseq.ir.passes import NodePass

Array = npt.NDArray[Any]

_MOVES = frozenset(
    {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Concat", "Pad", "Gather"}
)
_LARGEST_REGION = 64


class UnfoldConv(NodePass):
    """Convolve before the unfolding instead of after it."""

    ops = ("Conv",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Find the farthest source from which this is still one convolution."""
        weight, unfolded = data_of(node.inputs[1]), node.inputs[0]
        if weight is None or unfolded is None or not _is_pointwise(node, weight):
            return False
        best: tuple[ir.Value, _Taps] | None = None
        reason: str | bool = False
        for root, region in _regions(unfolded):
            if {inner.op_type for inner in region} <= {"Reshape", "Transpose"}:
                continue
            taps = _taps(root, unfolded, region, edit)
            if isinstance(taps, str):
                reason = taps
            elif taps is not None and _is_worthwhile(taps, root, unfolded):
                best = (root, taps)
        if best is None:
            return reason
        _convolve(node, weight, *best, edit)
        return True


PASS = UnfoldConv


@dataclasses.dataclass(frozen=True)
class _Taps:
    """For each unfolded channel: which channel of the source, and how far away."""

    channel: list[int]
    offset: list[tuple[int, ...]]


def _is_pointwise(node: ir.Node, weight: Array) -> bool:
    group, pads, auto = (node.attributes.get(name) for name in ("group", "pads", "auto_pad"))
    return (
        math.prod(weight.shape[2:]) == 1
        and (group is None or group.as_int() == 1)
        and (pads is None or not any(pads.as_ints()))
        and (auto is None or auto.as_string() in ("NOTSET", "VALID"))
    )


def _regions(end: ir.Value) -> Iterator[tuple[ir.Value, list[ir.Node]]]:
    """Yield values from which `end` follows by moves alone, and the nodes between, in order."""
    frontier, region = {end}, list[ir.Node]()
    order = {node: i for i, node in enumerate(end.graph or ())}
    while len(region) < _LARGEST_REGION:
        producers = [value.producer() for value in frontier]
        last = max(
            (node for node in producers if node is not None and node in order),
            key=lambda node: order[node],
            default=None,
        )
        if last is None or last.op_type not in _MOVES or len(last.outputs) != 1 or last.domain:
            return
        region.insert(0, last)
        frontier.discard(last.outputs[0])
        frontier |= {v for v in last.inputs if v is not None and v.const_value is None}
        root = next(iter(frontier), None)
        if root is not None and len(frontier) == 1 and _same_rank(root, end):
            yield root, list(region)


def _same_rank(one: ir.Value, other: ir.Value) -> bool:
    first, second = static_shape(one), static_shape(other)
    return first is not None and second is not None and len(first) == len(second)


def _taps(root: ir.Value, end: ir.Value, region: list[ir.Node], edit: Editor) -> _Taps | str | None:
    """Number the root's elements from 1 (0 is padding) and see where each one goes."""
    source, target = static_shape(root) or (), static_shape(end) or ()
    if source[0] != 1 or target[0] != 1:
        return None
    arrays: dict[ir.Value, Array] = {root: np.arange(1, math.prod(source) + 1).reshape(source)}
    for node in region:
        inputs = []
        for value in node.inputs:
            if value is not None:
                data = arrays.get(value)
                inputs.append(value.const_value.numpy() if data is None else data)
        if node.op_type == "Pad" and not _pads_zeros(node, inputs):
            return "its border is not zero"
        if node.op_type == "Pad":
            inputs[2:3] = [np.zeros((), np.int64)] * len(inputs[2:3])
        arrays[node.outputs[0]] = edit.inference.compute(node, inputs)[0]
    return _read_taps(arrays[end][0], source)


def _pads_zeros(node: ir.Node, inputs: list[Array]) -> bool:
    mode = node.attributes.get("mode")
    constant = mode is None or mode.as_string() == "constant"
    value = data_of(node.inputs[2]) if len(node.inputs) > 2 else None
    return constant and (value is None or not value.any()) and bool(inputs)


def _read_taps(numbers: Array, source: tuple[int, ...]) -> _Taps | str | None:
    here = np.indices(numbers.shape[1:])
    channels, offsets = [], []
    for image in numbers:
        if not image.any():
            return None
        place = np.unravel_index(np.maximum(image - 1, 0), source)
        inside = image > 0
        channel = {int(c) for c in place[1][inside]}
        shift = [{int(s) for s in (p - h)[inside]} for p, h in zip(place[2:], here, strict=True)]
        if len(channel) != 1 or any(len(one) != 1 for one in shift):
            return None
        offset = tuple(one.pop() for one in shift)
        moved = [h + o for h, o in zip(here, offset, strict=True)]
        expected = np.logical_and.reduce(
            [(m >= 0) & (m < size) for m, size in zip(moved, source[2:], strict=True)]
        )
        if not np.array_equal(expected, inside):
            return "at its border it sees other values than zeros"
        channels.append(channel.pop())
        offsets.append(offset)
    return _Taps(channels, offsets)


def _bounds(taps: _Taps) -> list[tuple[int, int]]:
    """The kernel's reach along each axis; it always holds the pixel itself."""
    return [(min(0, *axis), max(0, *axis)) for axis in zip(*taps.offset, strict=True)]


def _is_worthwhile(taps: _Taps, root: ir.Value, end: ir.Value) -> bool:
    source, target = static_shape(root) or (), static_shape(end) or ()
    kernel = math.prod(high - low + 1 for low, high in _bounds(taps))
    return kernel > 1 and source[1] * kernel <= target[1]


def _convolve(node: ir.Node, weight: Array, root: ir.Value, taps: _Taps, edit: Editor) -> None:
    source, target = static_shape(root) or (), static_shape(node.inputs[0]) or ()
    bounds = _bounds(taps)
    kernel = [high - low + 1 for low, high in bounds]
    wide = np.zeros((weight.shape[0], source[1], math.prod(kernel)), weight.dtype)
    columns = weight.reshape(weight.shape[0], -1)
    for place, (channel, offset) in enumerate(zip(taps.channel, taps.offset, strict=True)):
        at = [o - low for o, (low, _) in zip(offset, bounds, strict=True)]
        wide[:, channel, np.ravel_multi_index(at, kernel)] += columns[:, place]
    begin = [-low for low, _ in bounds]
    sizes = zip(target[2:], source[2:], kernel, begin, strict=True)
    end = [after - before + k - 1 - b for after, before, k, b in sizes]
    name = None if node.inputs[1] is None else node.inputs[1].name
    inputs = [
        root,
        edit.constant(wide.reshape(*wide.shape[:2], *kernel), f"{node.name}.weight", name),
        *node.inputs[2:],
    ]
    attributes = {
        **{k: v for k, v in node.attributes.items() if k not in ("auto_pad", "dilations")},
        "kernel_shape": kernel,
        "pads": begin + end,
    }
    edit.remake(node, "Conv", inputs, attributes)
