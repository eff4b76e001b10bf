"""CumSum of float32 along a constant axis."""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.kernels import cumsum
from edgeseq.lower.select import Choice, Shapes, constant, product, size
from edgeseq.lower.size import Size

OPS = ("CumSum",)


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """The kernel, or why there is none."""
    axis = constant(node.inputs[1])
    if axis is None:
        return "the axis is not constant"
    if node.inputs[0] is None or node.inputs[0].dtype != ir.DataType.FLOAT:
        return "the kernel is float32"
    dims = shapes.of(node.inputs[0])
    at = int(axis.reshape(-1)[0]) % len(dims)
    get = node.attributes.get_int
    return Choice(
        node=node,
        kernel=cumsum.KERNELS[0],
        sizes={
            "outer": product(dims[:at]),
            "length": size(dims[at]),
            "inner": product(dims[at + 1 :]),
            "exclusive": Size.of(get("exclusive", 0)),
            "reverse": Size.of(get("reverse", 0)),
        },
        inputs=(node.inputs[0],),
        consts=(),
        outputs=(node.outputs[0],),
        why="sequential along its axis",
    )
