"""Recurrences of the same shape on slices of one tensor, whose results are concatenated again.

    x[..., :I] -> GRU -> y0, x[..., I:] -> GRU -> y1, Concat(y0, y1)

Grouped recurrent layers are exported like this. Run one after the other each waits for its own
latency; as the `groups` of one kernel call their steps alternate.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from edgeseq.lower import formats
from edgeseq.lower.select import Shapes, constant, only_user, wanted


@dataclasses.dataclass(frozen=True)
class Group:
    """What was found.

    Args:
        nodes: The recurrences, in the order of their slices.
        source: The tensor they read.
        result: The concatenation of what they return.
        covers: Nodes besides the first recurrence that one call replaces.
        steps, batch, inputs, hidden, directions: Sizes of each.
    """

    nodes: tuple[ir.Node, ...]
    source: ir.Value
    result: ir.Value
    covers: tuple[ir.Node, ...]
    steps: int
    batch: int
    inputs: int
    hidden: int
    directions: int


@dataclasses.dataclass(frozen=True)
class _Member:
    """One recurrence: its slice of `source` starts at `start`; its result goes to `concat`."""

    node: ir.Node
    source: ir.Value
    start: int
    between: tuple[ir.Node, ...]
    concat: ir.Node


def find(node: ir.Node, shapes: Shapes) -> Group | None:
    """The group that `node` is the first member of, if there is one."""
    first = _member(node, shapes)
    if first is None:
        return None
    dims = shapes.known(node.inputs[0])
    assert dims is not None
    steps, batch, inputs = dims
    members = [
        m
        for operand in first.concat.inputs
        if (m := _behind(operand, node, shapes)) is not None and m.source is first.source
    ]
    starts = [m.start for m in members]
    if len(members) != len(first.concat.inputs) or members[0].node is not node:
        return None
    source_dims = shapes.known(first.source)
    if starts != [i * inputs for i in range(len(members))] or len(members) < 2:
        return None
    if source_dims is None or source_dims[-1] != inputs * len(members):
        return None
    if int(np.prod(source_dims)) != steps * batch * source_dims[-1]:
        return None
    recurrent = node.inputs[2]
    assert recurrent is not None
    directions, _, hidden = shapes.known(recurrent) or (0, 0, 0)
    if directions > 1 and batch > 1:
        return None  # the directions of a frame would not be neighbours
    covers = [m.node for m in members[1:]]
    covers += [n for m in members for n in m.between] + [first.concat]
    return Group(
        nodes=tuple(m.node for m in members),
        source=first.source,
        result=first.concat.outputs[0],
        covers=tuple(covers),
        steps=steps,
        batch=batch,
        inputs=inputs,
        hidden=hidden,
        directions=directions,
    )


def _member(node: ir.Node, shapes: Shapes) -> _Member | None:
    if node.attributes.get_int("layout", 0) or not _stateless(node):
        return None
    dims = shapes.known(node.inputs[0]) if shapes.known(node.inputs[0]) else None
    if dims is None or dims[0] == 1:
        return None
    sliced = _slice_of(node.inputs[0])
    if sliced is None:
        return None
    between: list[ir.Node] = []
    value = node.outputs[0]
    while (user := only_user(value)) is not None and user.op_type == "Reshape":
        between.append(user)
        value = user.outputs[0]
    if user is None or user.op_type != "Concat":
        return None
    rank = len(shapes.of(user.outputs[0]))
    if user.attributes["axis"].as_int() % rank != rank - 1:
        return None
    return _Member(node, sliced[0], sliced[1], tuple(between), user)


def _behind(operand: ir.Value | None, like: ir.Node, shapes: Shapes) -> _Member | None:
    """The recurrence whose result a concatenation's operand is, if it is like another one."""
    node = operand.producer() if operand is not None else None
    while node is not None and node.op_type == "Reshape":
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None or node.op_type != like.op_type:
        return None
    if {n: a.value for n, a in node.attributes.items()} != {
        n: a.value for n, a in like.attributes.items()
    }:
        return None
    for i in (1, 2, 3):
        a, b = (formats.weight(n.inputs[i]) if i < len(n.inputs) else None for n in (node, like))
        if (a is None) != (b is None):
            return None
        if (
            a is not None
            and b is not None
            and (a.array.shape, a.element)
            != (
                b.array.shape,
                b.element,
            )
        ):
            return None
    return _member(node, shapes)


def _stateless(node: ir.Node) -> bool:
    """No lengths, no peepholes, no initial state but zeros, no final state wanted."""
    extra = [v for v in node.inputs[4:] if v is not None]
    zeros = all((c := constant(v)) is not None and not c.any() for v in extra)
    return zeros and not any(wanted(v) for v in node.outputs[1:])


def _slice_of(value: ir.Value | None) -> tuple[ir.Value, int] | None:
    """The tensor and the start, if `value` is a slice along the last axis (under any shape)."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type == "Reshape":
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None or node.op_type != "Slice" or node.inputs[0] is None:
        return None
    bounds = [constant(v) for v in node.inputs[1:]]
    if len(bounds) < 3 or any(b is None or b.size != 1 for b in bounds):
        return None
    start, _, axis, *step = (int(b.reshape(-1)[0]) for b in bounds if b is not None)
    rank = len(node.inputs[0].shape or ())
    if axis % rank != rank - 1 or start < 0 or (step and step[0] != 1):
        return None
    return node.inputs[0], start
