"""`Slice(Slice(x)) -> Slice(x)`, `Slice(Concat(a, b, c)) -> b`; exact.

Slices over one axis with constant bounds and step 1. A slice that lies within one input of a
Concat is cut from it; one that is made of whole inputs is their Concat.
"""

from __future__ import annotations

import itertools

import onnx_ir as ir

from edgeseq.ir.edit import Editor, axis_of, data_of
from edgeseq.ir.passes import NodePass


class MergeSlices(NodePass):
    """Cut from as near the source as possible."""

    ops = ("Slice",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Look at what produced the data."""
        cut = _cut(node)
        producer = None if node.inputs[0] is None else node.inputs[0].producer()
        if cut is None or producer is None or producer.domain:
            return False
        if producer.op_type == "Slice":
            return _of_slice(node, producer, cut, edit)
        if producer.op_type == "Concat":
            return _of_concat(node, producer, cut, edit)
        return False


PASS = MergeSlices

_Cut = tuple[int, int, int]  # axis, start, end


def _cut(node: ir.Node) -> _Cut | None:
    """Return what a Slice of one static axis keeps, or None."""
    source = node.inputs[0]
    data = [data_of(value) for value in node.inputs[1:]]
    if source is None or source.shape is None or any(one is None for one in data):
        return None
    numbers = [[int(i) for i in one] for one in data if one is not None]
    starts, ends = numbers[:2]
    axes = numbers[2] if len(numbers) > 2 else list(range(len(starts)))
    steps = numbers[3] if len(numbers) > 3 else [1] * len(starts)
    if len(axes) != 1 or steps != [1]:
        return None
    axis = axes[0] % len(source.shape)
    size = source.shape[axis]
    if not isinstance(size, int):
        return None
    start, end, _ = slice(starts[0], ends[0]).indices(size)
    return axis, start, max(start, end)


def _of_slice(node: ir.Node, first: ir.Node, cut: _Cut, edit: Editor) -> bool | str:
    inner = _cut(first)
    if inner is None or inner[0] != cut[0] or first.inputs[0] is None:
        return False
    start, end = inner[1] + cut[1], inner[1] + cut[2]
    edit.replace_node(node, edit.slice(node, first.inputs[0], cut[0], start, end))
    return True


def _of_concat(node: ir.Node, concat: ir.Node, cut: _Cut, edit: Editor) -> bool | str:
    axis, start, end = cut
    parts = [part for part in concat.inputs if part is not None and part.shape is not None]
    if not parts or len(parts) != len(concat.inputs):
        return False
    rank = len(parts[0].shape or ())
    if axis_of(concat, 0, rank) != axis:
        return False
    sizes = [part.shape[axis] for part in parts if part.shape is not None]
    if not all(isinstance(size, int) for size in sizes):
        return False
    edges = list(itertools.accumulate((int(size) for size in sizes), initial=0))
    touched = [i for i in range(len(parts)) if edges[i] < end and start < edges[i + 1]]
    if not touched:
        return False
    first, last = touched[0], touched[-1]
    whole = start == edges[first] and end == edges[last + 1]
    if whole and len(touched) < len(parts):
        kept = [parts[i] for i in touched]
        edit.replace_node(node, kept[0] if len(kept) == 1 else _concat(node, kept, axis, edit))
        return True
    if len(touched) == 1:
        low = edges[first]
        edit.replace_node(node, edit.slice(node, parts[first], axis, start - low, end - low))
        return True
    return False


def _concat(node: ir.Node, parts: list[ir.Value], axis: int, edit: Editor) -> ir.Value:
    return edit.emit(node, "Concat", parts, {"axis": axis})
