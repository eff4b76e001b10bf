"""`Pow(x, 2) -> Mul(x, x)`, 3 -> two Mul, 0.5 -> Sqrt, -1 -> Reciprocal.

Exact for 2 and -1 up to the rounding of `pow` itself, which may be off by one unit where a
product is not; for 0.5 they differ at minus infinity only, and for 3 by one more rounding.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.passes import NodePass


class PowToMul(NodePass):
    """Say small constant powers as products."""

    ops = ("Pow",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Look at the exponent."""
        base, exponent = node.inputs[0], data_of(node.inputs[1])
        if base is None or exponent is None:
            return False
        if exponent.size == 0 or (exponent != exponent.flat[0]).any():
            return "its exponents differ"
        if base.shape != node.outputs[0].shape:
            return "its exponent broadcasts the base"
        power = float(exponent.flat[0])
        if power == 3:
            edit.remake(node, "Mul", [edit.emit(node, "Mul", [base, base]), base])
        elif power == 2:
            edit.remake(node, "Mul", [base, base])
        elif power in _UNARY and base.dtype is not None and base.dtype.is_floating_point():
            edit.remake(node, _UNARY[power], [base])
        else:
            return f"no product is its power {power:g}"
        return True


PASS = PowToMul

_UNARY = {0.5: "Sqrt", -1.0: "Reciprocal"}
