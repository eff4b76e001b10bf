"""`MatMul(A[M, K], x[..., K, N]) -> Conv(x, A)`: a constant matrix on the left; exact.

It is a convolution of one tap over N places, for which there are kernels, dense and pruned. With a
single column it stays a product: that is a matrix times a vector.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of, static_shape
from edgeseq.ir.passes import NodePass


class MatmulToConv(NodePass):
    """Say a product with a constant on its left as a convolution."""

    ops = ("MatMul",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Flatten the leading axes to a batch, convolve, and unflatten."""
        if node.graph is not edit.model.graph:
            return False  # the recurrence of a loop is recognised by its products
        left, value = node.inputs
        matrix, dims = data_of(left), static_shape(value)
        if matrix is None or left is None or value is None or value.const_value is not None:
            return False
        if matrix.ndim != 2:
            return f"its constant has rank {matrix.ndim}"
        if dims is None:
            return "the shape of its other operand varies"
        if len(dims) < 2 or dims[-1] == 1:
            return False
        batch, (rows, inner), columns = math.prod(dims[:-2]), matrix.shape, dims[-1]
        image = edit.emit(node, "Reshape", [value, edit.ints([batch, inner, columns])])
        taps = edit.constant(matrix[..., None], f"{node.name}.taps", left.name)
        found = edit.emit(node, "Conv", [image, taps])
        shape = edit.ints([*dims[:-2], rows, columns])
        edit.replace_node(node, edit.emit(node, "Reshape", [found, shape]))
        return True


PASS = MatmulToConv
