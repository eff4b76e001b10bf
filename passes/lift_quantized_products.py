"""`MatMul(DequantizeLinear(x), DequantizeLinear(W)) -> QuantizedMatMul(x, W)`, Gemm alike.

What comes quantized keeps its scales and is multiplied as integers. Exact in the integers; the sum
is rounded once, where floats round every product. `DequantizeLinear(QuantizeLinear(x))` of the same
scale is what the function does with x itself: it is handed x. Where only the weights are quantized
they keep their levels, which kernels read; what no kernel multiplies gets its floats. Where only
the run knows the scale of x, levels are multiplied, and their sums are scaled.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from edgeseq.ir import integers
from edgeseq.ir.edit import Array, Editor, sole_user
from edgeseq.ir.integers import Matrix
from edgeseq.ir.passes import NodePass


class LiftQuantizedProducts(NodePass):
    """Multiply what is quantized on both sides as integers."""

    ops = ("MatMul", "Gemm")

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Replace a product and the bias behind it."""
        how, weights = integers.encoding(integers.origin(node.inputs[0])), _weights(node)
        if weights is None:
            return False
        if isinstance(weights, str):
            return self._in_floats(node, edit, weights)
        if how is None:
            return _levels_alone(node, edit, weights)
        if node.attributes.get_int("transA", 0):
            return self._in_floats(node, edit, "transA = 1")
        bias, last = _bias(node, weights.levels.shape[1])
        if isinstance(bias, str):
            return self._in_floats(node, edit, bias)
        if isinstance(how, str):
            found = _by_levels(edit, last, node.inputs[0], weights, bias) or how
        else:
            x = integers.floats(node.inputs[0], how)
            found = integers.product(edit, last, x, how, weights, bias)
        if isinstance(found, str):
            return self._in_floats(node, edit, found)
        edit.replace_node(last, found)
        if last is not node:
            edit.remove(node)
        return True

    def _in_floats(self, node: ir.Node, edit: Editor, why: str) -> bool | str:
        """Refuse a node, and compute its weights now."""
        if not integers.settle(edit, node.inputs[1]):
            return why
        self.refuse(node, why)
        return True


def _by_levels(
    edit: Editor, node: ir.Node, x: ir.Value | None, weights: Matrix, bias: Array | None
) -> ir.Value | None:
    """The product where only the run knows the scale of x: that of its levels, scaled after it."""
    back = integers.dequantizer(x)
    if back is None or back.inputs[0] is None or integers.count(back.inputs[1]) != 1:
        return None
    zero = integers.operand(back, 2)
    total = integers.level_sum(edit, node, back.inputs[0], zero, weights)
    if isinstance(total, str):
        return None
    scales = edit.constant(weights.scales.astype(np.float32), f"{node.name}.W_scale")
    y = edit.emit(node, "Mul", [total, edit.emit(node, "Mul", [back.inputs[1], scales])])
    if bias is None:
        return y
    return edit.emit(node, "Add", [y, edit.constant(bias, f"{node.name}.B")])


def _levels_alone(node: ir.Node, edit: Editor, weights: Matrix) -> bool:
    """Let a product whose levels have a zero point expand them itself."""
    back = integers.dequantizer(node.inputs[1])
    plain = back is not None and integers.operand(back, 2) is None
    if plain or node.op_type == "Gemm":
        return False
    return integers.keep_levels(edit, node, weights, axis=1)


def _weights(node: ir.Node) -> Matrix | str | None:
    """The matrix [inputs, outputs] with Gemm's alpha in its scales."""
    turned = bool(node.attributes.get_int("transB", 0))
    found = integers.matrix(node.inputs[1], outputs_first=turned)
    alpha = np.float32(node.attributes.get_float("alpha", 1.0))
    if alpha == 1 or not isinstance(found, Matrix):
        return found
    return dataclasses.replace(found, scales=found.scales * alpha)


def _bias(node: ir.Node, outputs: int) -> tuple[Array | str | None, ir.Node]:
    """The constant row added to the product, and the node whose output has it."""
    if node.op_type == "Gemm":
        value = integers.operand(node, 2)
        row = integers.dequantized(value)
        if value is None:
            return None, node
        if row is None or row.size not in (1, outputs) or row.shape[:-1] not in ((), (1,)):
            return "what it adds is not one constant row", node
        factor = np.float32(node.attributes.get_float("beta", 1.0))
        return np.broadcast_to(row.reshape(-1) * factor, (outputs,)), node
    user = sole_user(node.outputs[0])
    if user is None or user.op_type != "Add" or user.domain or user.graph is not node.graph:
        return None, node
    other = user.inputs[1] if user.inputs[0] is node.outputs[0] else user.inputs[0]
    row, rank = integers.dequantized(other), len(node.outputs[0].shape or ())
    if row is None or row.size != outputs or row.shape[-1] != outputs or row.ndim > rank:
        return None, node
    return row.reshape(-1), user


PASS = LiftQuantizedProducts
