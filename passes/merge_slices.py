"""`Slice(Slice(x)) -> Slice(x)`, `Slice(Concat(a, b, c)) -> b`; exact.

Slices with constant bounds and step 1 over axes whose sizes are known. A slice that lies within
one input of a Concat is cut from it; one that is made of whole inputs is their Concat.
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
        cuts = _cuts(node)
        producer = None if node.inputs[0] is None else node.inputs[0].producer()
        if cuts is None or producer is None or producer.domain:
            return False
        if producer.op_type == "Slice":
            return _of_slice(node, producer, cuts, edit)
        if producer.op_type == "Concat" and len(cuts) == 1:
            return _of_concat(node, producer, cuts, edit)
        return False


PASS = MergeSlices

_Cuts = dict[int, tuple[int, int]]  # axis -> what is kept


def _cuts(node: ir.Node) -> _Cuts | None:
    """Return what a Slice keeps of the axes it shortens, or None when that varies."""
    source = node.inputs[0]
    data = [data_of(value) for value in node.inputs[1:]]
    if source is None or source.shape is None or any(one is None for one in data):
        return None
    numbers = [one.tolist() for one in data if one is not None]
    starts, ends = numbers[:2]
    axes = numbers[2] if len(numbers) > 2 else list(range(len(starts)))
    if any(step != 1 for step in itertools.chain(*numbers[3:])):
        return None
    cuts: _Cuts = {}
    for axis, start, end in zip(axes, starts, ends, strict=True):
        size = source.shape[axis]
        if not isinstance(size, int):
            return None
        low, high, _ = slice(start, end).indices(size)
        if (low, high) != (0, size):
            cuts[axis % len(source.shape)] = (low, max(low, high))
    return cuts


def _of_slice(node: ir.Node, first: ir.Node, cuts: _Cuts, edit: Editor) -> bool:
    inner, source = _cuts(first), first.inputs[0]
    if inner is None or source is None:
        return False
    merged = dict(inner)
    for axis, (start, end) in cuts.items():
        offset = inner[axis][0] if axis in inner else 0
        merged[axis] = (offset + start, offset + end)
    axes = sorted(merged)
    bounds = [[merged[axis][side] for axis in axes] for side in (0, 1)]
    edit.remake(node, "Slice", [source, *map(edit.ints, [*bounds, axes])])
    return True


def _of_concat(node: ir.Node, concat: ir.Node, cuts: _Cuts, edit: Editor) -> bool:
    ((axis, (start, end)),) = cuts.items()
    parts = [part for part in concat.inputs if part is not None and part.shape is not None]
    if not parts or len(parts) != len(concat.inputs):
        return False
    if axis_of(concat, 0, len(parts[0].shape or ())) != axis:
        return False
    sizes = [part.shape[axis] for part in parts if part.shape is not None]
    if not all(isinstance(size, int) for size in sizes):
        return False
    edges = list(itertools.accumulate((int(size) for size in sizes), initial=0))
    touched = [i for i in range(len(parts)) if edges[i] < end and start < edges[i + 1]]
    if not touched:
        return False
    first, last = touched[0], touched[-1]
    if start == edges[first] and end == edges[last + 1]:
        kept = [parts[i] for i in touched]
        whole = kept[0] if len(kept) == 1 else edit.emit(node, "Concat", kept, {"axis": axis})
        edit.replace_node(node, whole)
        return True
    if first == last:
        low = edges[first]
        edit.replace_node(node, edit.slice(node, parts[first], axis, start - low, end - low))
        return True
    return False
