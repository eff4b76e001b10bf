"""`Concat(a, Concat(b, c)) -> Concat(a, b, c)` on one axis; exact.

Only when nothing else uses the inner one: otherwise its elements would be copied twice.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.edit import Editor, axis_of, sole_user
from edgeseq.ir.passes import NodePass


class MergeConcats(NodePass):
    """Flatten nested concatenations."""

    ops = ("Concat",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Splice the inputs of inner Concats into the outer one."""
        shape = node.outputs[0].shape
        if shape is None:
            return False
        axis = axis_of(node, 0, len(shape))
        inputs: list[ir.Value | None] = []
        for value in node.inputs:
            inner = None if value is None else value.producer()
            if inner is None or inner.op_type != "Concat" or axis_of(inner, 0, len(shape)) != axis:
                inputs.append(value)
            elif sole_user(value) is not node:
                self.refuse(inner, "it has other users")
                inputs.append(value)
            else:
                inputs += inner.inputs
        if len(inputs) == len(node.inputs):
            return False
        edit.remake(node, "Concat", inputs, {"axis": axis})
        return True


PASS = MergeConcats
