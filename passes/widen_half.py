"""`X(x, W) -> Cast(X(Cast(x), W))`: products, convolutions and recurrences of float16 in float32.

Not exact but nearer to the true value: sums are kept in float32, as runtimes do for half
precision. Matrices stay halves, behind a Cast: the kernels widen them as they read. Other constants
are widened once.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.infer import MATRICES
from edgeseq.ir.passes import NodePass

_HALF = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


class WidenHalf(NodePass):
    """Compute in float32 what the kernels compute in float32."""

    ops = ("Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "RNN")

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Cast the operands up and the results down."""
        x = node.inputs[0]
        if x is None or x.dtype not in _HALF:
            return False
        half = x.dtype
        inputs = [self._widened(v, i, node, edit) for i, v in enumerate(node.inputs)]
        wide = edit.emit_many(
            node,
            node.op_type,
            inputs,
            dict(node.attributes.items()),
            count=len(node.outputs),
        )
        for old, new in zip(list(node.outputs), wide, strict=True):
            if old.is_graph_output() or any(True for _ in old.uses()):
                edit.replace(old, edit.emit(node, "Cast", [new], {"to": half}))
        edit.remove(node)
        return True

    def _widened(
        self, value: ir.Value | None, index: int, node: ir.Node, edit: Editor
    ) -> ir.Value | None:
        if value is None or value.dtype not in _HALF:
            return value
        data = data_of(value)
        if data is not None and not (data.ndim >= 2 and index in MATRICES.get(node.op_type, ())):
            return edit.constant(data.astype(np.float32), f"{value.name}.float32")
        return edit.emit(node, "Cast", [value], {"to": ir.DataType.FLOAT})


PASS = WidenHalf
