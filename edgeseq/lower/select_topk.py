"""TopK of float32 along a constant axis."""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.kernels import topk
from edgeseq.lower.select import Choice, Shapes, constant, product, size
from edgeseq.lower.size import Size

OPS = ("TopK",)


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """The kernel, or why there is none."""
    data, count = node.inputs[0], constant(node.inputs[1])
    if data is None or data.dtype != ir.DataType.FLOAT:
        return "the kernel is float32"
    if count is None:
        return "k is not constant"
    dims, k = shapes.of(data), int(count.reshape(-1)[0])
    axis = node.attributes.get_int("axis", -1) % len(dims)
    return Choice(
        node=node,
        kernel=topk.KERNELS[0],
        sizes={
            "outer": product(dims[:axis]),
            "length": size(dims[axis]),
            "inner": product(dims[axis + 1 :]),
            "k": Size.of(k),
            "largest": Size.of(node.attributes.get_int("largest", 1)),
        },
        inputs=(data,),
        consts=(),
        outputs=tuple(node.outputs),
        why="insertion into the sorted winners",
    )
