"""`f(Expand(a), b) -> f(a, b)` where `f` broadcasts anyway; exact."""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import NodePass

_BROADCASTING = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Equal", "Greater", "Less", "Where"}
)


class DropExpand(NodePass):
    """Let operators that broadcast do the expanding."""

    ops = ("Expand",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """All users must get their shape from their other operands."""
        source, output = node.inputs[0], node.outputs[0]
        users = output.consumers()
        if source is None or source.shape is None or output.is_graph_output() or not users:
            return False
        for user in users:
            if user.op_type not in _BROADCASTING or user.domain:
                return f"{user.op_type} needs the expanded shape"
            others = [value for value in user.inputs if value is not output]
            if not any(v is not None and v.shape == user.outputs[0].shape for v in others):
                return f"{user.op_type} takes its shape from it"
        edit.replace_node(node, source)
        return True


PASS = DropExpand
