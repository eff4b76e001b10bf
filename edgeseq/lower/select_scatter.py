"""ScatterND and ScatterElements of float32 at indices that only the run knows."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgeseq.kernels import scatter
from edgeseq.lower.select import Choice, Dim, Shapes, product, size
from edgeseq.lower.size import Size

OPS = ("ScatterND", "ScatterElements")
_ND, _ELEMENTS = scatter.KERNELS


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """The kernel, or why there is none."""
    data, indices, updates = node.inputs
    if data is None or data.dtype != ir.DataType.FLOAT:
        return "the kernel is float32"
    if indices is None or indices.dtype != ir.DataType.INT64:
        return "the indices are not int64"
    dims, picked = shapes.of(data), shapes.of(indices)
    sizes = _nd(dims, picked) if node.op_type == "ScatterND" else _elements(node, dims, picked)
    if isinstance(sizes, str):
        return sizes
    mode = scatter.MODES.index(node.attributes.get_string("reduction", "none"))
    return Choice(
        node=node,
        kernel=_ND if node.op_type == "ScatterND" else _ELEMENTS,
        sizes={**sizes, "mode": Size.of(mode)},
        inputs=(data, indices, updates),
        consts=(),
        outputs=(node.outputs[0],),
        why="writes in order, at places that only the run knows",
    )


def _nd(dims: Sequence[Dim], picked: Sequence[Dim]) -> dict[str, Size] | str:
    depth = picked[-1]
    if not isinstance(depth, int) or depth > scatter.MAX_DEPTH:
        return f"its indices have {depth} parts"
    chosen = [*map(size, dims[:depth]), *[Size.of(1)] * (scatter.MAX_DEPTH - depth)]
    return {
        "count": product(picked[:-1]),
        "depth": Size.of(depth),
        "row": product(dims[depth:]),
        **{f"d{i}": dim for i, dim in enumerate(chosen)},
    }


def _elements(node: ir.Node, dims: Sequence[Dim], picked: Sequence[Dim]) -> dict[str, Size] | str:
    axis = node.attributes.get_int("axis", 0) % len(dims)
    others = [(a, b) for i, (a, b) in enumerate(zip(dims, picked, strict=True)) if i != axis]
    if any(a != b for a, b in others):
        return "its indices cover a part of the other axes"
    return {
        "outer": product(dims[:axis]),
        "length": size(dims[axis]),
        "count": size(picked[axis]),
        "inner": product(dims[axis + 1 :]),
    }
