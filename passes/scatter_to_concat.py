"""`ScatterND(x, constant box, u) -> Concat(x before, u, x after)`, nested per axis; exact.

Also ScatterElements. The written places must be a box of the data, written once each and in
order; a box over all of the data is just the updates.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import Editor, axis_of, data_of, static_shape
from edgeseq.ir.passes import NodePass

Array = npt.NDArray[Any]


class ScatterToConcat(NodePass):
    """Say a write to a constant box as slices around it."""

    ops = ("ScatterND", "ScatterElements")

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Find the box and build it up from the innermost axis."""
        data, updates = node.inputs[0], node.inputs[2]
        indices, shape = data_of(node.inputs[1]), static_shape(node.inputs[0])
        if data is None or updates is None or indices is None:
            return False
        if shape is None:
            return "the shape of its data varies"
        reduction = node.attributes.get("reduction")
        if reduction is not None and reduction.as_string() != "none":
            return f"it reduces with {reduction.as_string()}"
        box = _box(_written(node, indices, shape), shape)
        if box is None:
            return "the places it writes are not a box in order"
        sizes = [high - low for low, high in box]
        if static_shape(updates) != tuple(sizes):
            updates = edit.reshape(node, updates, sizes)
        edit.replace_node(node, _write(node, data, updates, box, shape, edit))
        return True


PASS = ScatterToConcat

_Box = list[tuple[int, int]]


def _written(node: ir.Node, indices: Array, shape: tuple[int, ...]) -> Array:
    """Return the linear positions of the written elements, in order of the updates."""
    places = np.arange(math.prod(shape)).reshape(shape)
    if node.op_type == "ScatterND":
        grid = list(np.moveaxis(indices, -1, 0))
    else:
        grid = list(np.indices(indices.shape))
        grid[axis_of(node, 0, len(shape))] = indices
    written: Array = places[tuple(grid)]
    return written.ravel()


def _box(written: Array, shape: tuple[int, ...]) -> _Box | None:
    """Return the bounds per axis when the positions are exactly a box, row by row."""
    if written.size == 0:
        return None
    along = np.unravel_index(written, shape)
    box = [(int(places.min()), int(places.max()) + 1) for places in along]
    inside = np.arange(math.prod(shape)).reshape(shape)[tuple(slice(*pair) for pair in box)]
    return box if np.array_equal(inside.ravel(), written) else None


def _write(
    node: ir.Node,
    data: ir.Value,
    updates: ir.Value,
    box: _Box,
    shape: tuple[int, ...],
    edit: Editor,
) -> ir.Value:
    """Concat along the first axis the box does not fill; what lies beside it is the data's."""
    partial = [axis for axis, pair in enumerate(box) if pair != (0, shape[axis])]
    if not partial:
        return updates
    axis = partial[0]
    low, high = box[axis]
    parts = [updates]
    if len(partial) > 1:
        middle = edit.slice(node, data, axis, low, high)
        inner = [(0, high - low) if i == axis else pair for i, pair in enumerate(box)]
        narrow = tuple(high - low if i == axis else size for i, size in enumerate(shape))
        parts = [_write(node, middle, updates, inner, narrow, edit)]
    if low > 0:
        parts.insert(0, edit.slice(node, data, axis, 0, low))
    if high < shape[axis]:
        parts.append(edit.slice(node, data, axis, high, shape[axis]))
    return edit.emit(node, "Concat", parts, {"axis": axis})
