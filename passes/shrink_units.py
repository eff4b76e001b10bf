"""Channels that every weight multiplies by zero are cut out of all values and weights; exact.

A pruned unit of a GRU, a neuron, a channel of a convolution or an attention head is such a channel
(see `ir/channels.py`): the layers before it lose rows, those after it columns, states get shorter.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir import channel_rules, channels, facts
from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.infer import tensor_of
from edgeseq.ir.passes import GraphPass
from edgeseq.ir.ties import FIXED, Axis

Array = npt.NDArray[Any]


class ShrinkUnits(GraphPass):
    """Cut out what is multiplied by zero everywhere; each axis keeps one position at least."""

    def run(self, edit: Editor) -> bool:
        """Look for such channels once: cutting one makes no other unread."""
        found = channels.find(edit.model)
        dead = _spared(found.numbers, found.unread())
        if not len(dead):
            return False
        kept = {
            axis: ~np.isin(numbers, dead)
            for axis, numbers in found.numbers.items()
            if np.isin(numbers, dead).any()
        }
        for axis in found.writes:
            if axis in kept and not kept[axis].all():
                left, size = int(kept[axis].sum()), len(kept[axis])
                self.notes.append(f"{axis.value.name}: {left} of {size} rows are left")
        for node in edit.model.graph:
            _adjust(node, kept, edit)
        for value in {axis.value: None for axis in kept}:
            _cut(value, kept)
        for node in edit.model.graph:
            _reshaped(node, edit)
        return True


PASS = ShrinkUnits


def _spared(numbers: dict[Axis, Array], dead: Array) -> Array:
    """Let one channel live of every axis that would be empty."""
    while True:
        empty = [one[0] for one in numbers.values() if len(one) and np.isin(one, dead).all()]
        empty = [number for number in empty if number != FIXED]
        if not empty:
            return dead
        dead = np.setdiff1d(dead, empty)


def _adjust(node: ir.Node, kept: dict[Axis, Array], edit: Editor) -> None:
    """Let the parameters of a node say what is true after the cut."""
    x = node.inputs[0] if node.inputs else None
    if x is None or node.domain not in ("", "ai.onnx"):
        return
    if node.op_type in ("GRU", "LSTM", "RNN"):
        weight = node.inputs[2]
        assert weight is not None
        if (left := kept.get(Axis(weight, 2))) is not None:
            node.attributes["hidden_size"] = ir.AttrInt64("hidden_size", int(left.sum()))
    elif node.op_type in ("Conv", "ConvTranspose"):
        left = kept.get(Axis(x, 1))
        group = node.attributes.get("group")
        if left is not None and group is not None and group.as_int() > 1:
            node.attributes["group"] = ir.AttrInt64("group", int(left.sum()))
    elif node.op_type == "Split":
        _adjust_split(node, kept, edit)
    elif node.op_type == "Slice":
        _adjust_slice(node, x, kept, edit)


def _adjust_split(node: ir.Node, kept: dict[Axis, Array], edit: Editor) -> None:
    y = node.outputs[0]
    assert y.shape is not None
    axis = node.attributes["axis"].as_int() % len(y.shape) if "axis" in node.attributes else 0
    sizes = []
    for output in node.outputs:
        assert output.shape is not None
        left = kept.get(Axis(output, axis))
        sizes.append(int(output.shape[axis]) if left is None else int(left.sum()))
    node.replace_input_with(1, edit.ints(sizes))


def _adjust_slice(node: ir.Node, x: ir.Value, kept: dict[Axis, Array], edit: Editor) -> None:
    taken = channel_rules.cuts(node) or {}
    shorter = {n: kept[Axis(x, n)] for n in taken if Axis(x, n) in kept}
    if not shorter:
        return
    starts, ends, axes = ([int(i) for i in _ints(node, slot)] for slot in (1, 2, 3))
    axes = axes or list(range(len(starts)))
    assert x.shape is not None
    for place, axis in enumerate(axes):
        if (left := shorter.get(axis % len(x.shape))) is not None:
            run = taken[axis % len(x.shape)]
            starts[place] = int(left[: run.start].sum())
            ends[place] = int(left[: run.stop].sum())
    node.replace_input_with(1, edit.ints(starts))
    node.replace_input_with(2, edit.ints(ends))


def _ints(node: ir.Node, slot: int) -> list[int]:
    data = data_of(node.inputs[slot]) if len(node.inputs) > slot else None
    return [] if data is None else [int(n) for n in data.ravel()]


def _cut(value: ir.Value, kept: dict[Axis, Array]) -> None:
    """Shorten a value: its shape, its data, and where a state starts."""
    assert value.shape is not None
    marks = {
        n: left for n in range(len(value.shape)) if (left := kept.get(Axis(value, n))) is not None
    }
    start = facts.get(value, facts.InitialState)
    if start is not None and value.dtype is not None:
        raw = np.frombuffer(base64.b64decode(start.data), value.dtype.numpy())
        raw = _taken(raw.reshape([int(n) for n in value.shape]), marks)
        facts.put(value, facts.InitialState(base64.b64encode(raw.tobytes()).decode()))
    if value.const_value is not None and value.producer() is None:
        value.const_value = tensor_of(_taken(value.const_value.numpy(), marks), value.name)
    value.shape = ir.Shape(
        [int(marks[n].sum()) if n in marks else size for n, size in enumerate(value.shape)]
    )


def _taken(array: Array, marks: dict[int, Array]) -> Array:
    for number, left in marks.items():
        array = np.compress(left, array, axis=number)
    return np.ascontiguousarray(array)


def _reshaped(node: ir.Node, edit: Editor) -> None:
    """Let a Reshape to constant sizes name those of its output."""
    if node.op_type != "Reshape" or node.domain not in ("", "ai.onnx"):
        return
    y, target = node.outputs[0], _ints(node, 1)
    if y.shape is None or len(target) != len(y.shape):
        return
    now = [
        size if asked > 0 and isinstance(size, int) else asked
        for asked, size in zip(target, y.shape, strict=True)
    ]
    if now != target:
        node.replace_input_with(1, edit.ints(now))
