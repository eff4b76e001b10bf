"""`Identity(x) -> x`, and so every node that returns its input unchanged; exact.

Reshape, Expand, Tile, Slice, Pad, Transpose, Cast, Concat, Squeeze, Unsqueeze, Dropout, Add 0 and
Mul 1 where shape, type and constants say that nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.passes import NodePass


class EliminateIdentity(NodePass):
    """Remove nodes that return an input unchanged."""

    ops = (
        "Identity", "Reshape", "Expand", "Tile", "Slice", "Pad", "Transpose", "Cast", "Concat",
        "Squeeze", "Unsqueeze", "Split", "Dropout", "Flatten", "Sum", "Mean", "Max", "Min",
        "Add", "Sub", "Mul", "Div", "Pow",
    )  # fmt: skip

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Remove the node when it changes nothing."""
        kept = _unchanged_input(node)
        if kept is None or any(o.uses() or o.is_graph_output() for o in node.outputs[1:]):
            return False
        output = node.outputs[0]
        if output.is_graph_output() and (kept.is_graph_output() or kept.producer() is None):
            if node.op_type == "Identity":
                return False
            copy = edit.emit(node, "Identity", [kept])
            edit.replace_node(node, copy)
            return True
        edit.replace_node(node, kept)
        return True


PASS = EliminateIdentity


def _unchanged_input(node: ir.Node) -> ir.Value | None:
    first = node.inputs[0] if node.inputs else None
    if first is None:
        return None
    if node.op_type == "Identity" or (node.op_type == "Dropout" and not _trains(node)):
        return first
    if node.op_type in _NEUTRAL:
        return _neutral(node)
    output = node.outputs[0]
    same = first.shape is not None and first.shape == output.shape and first.dtype == output.dtype
    check = _CHECKS.get(node.op_type, lambda _: True)
    return first if same and check(node) else None


def _trains(node: ir.Node) -> bool:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return False
    mode = data_of(node.inputs[2])
    return mode is None or bool(mode.any())


def _keeps_order(node: ir.Node) -> bool:
    perm = node.attributes.get("perm")
    return perm is not None and list(perm.as_ints()) == sorted(perm.as_ints())


def _one_input(node: ir.Node) -> bool:
    return len(node.inputs) == 1


def _forward(node: ir.Node) -> bool:
    """A Slice that keeps the shape changes nothing, unless it runs backwards."""
    steps = data_of(node.inputs[4]) if len(node.inputs) > 4 else np.ones(1)
    return steps is not None and bool((steps > 0).all())


def _zero_pads(node: ir.Node) -> bool:
    pads = data_of(node.inputs[1])
    return pads is not None and not pads.any()


_CHECKS: dict[str, Callable[[ir.Node], bool]] = {
    "Transpose": _keeps_order,
    "Concat": _one_input,
    "Split": lambda node: len(node.outputs) == 1,
    "Sum": _one_input,
    "Mean": _one_input,
    "Max": _one_input,
    "Min": _one_input,
    "Slice": _forward,
    "Pad": _zero_pads,
}

# Operator -> (which operands may be the neutral one, the neutral number).
_NEUTRAL = {
    "Add": ((0, 1), 0),
    "Sub": ((1,), 0),
    "Mul": ((0, 1), 1),
    "Div": ((1,), 1),
    "Pow": ((1,), 1),
}


def _neutral(node: ir.Node) -> ir.Value | None:
    places, number = _NEUTRAL[node.op_type]
    for place in places:
        data = data_of(node.inputs[place])
        other = node.inputs[1 - place]
        if data is not None and other is not None and (data == number).all():
            same = other.shape is not None and other.shape == node.outputs[0].shape
            return other if same and other.dtype == node.outputs[0].dtype else None
    return None
