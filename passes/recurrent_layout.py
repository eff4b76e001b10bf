"""`RNN | GRU | LSTM with layout 1 -> Transpose, layout 0, Transpose`; exact."""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import NodePass

# X and Y between [batch, steps, ...] and [steps, ...]; states between [batch, directions, ...].
_SEQUENCE, _STATE, _OUTPUT = [1, 0, 2], [1, 0, 2], [2, 0, 1, 3]
_STATE_INPUTS = (5, 6)


class RecurrentLayout(NodePass):
    """Let every recurrence take [steps, batch, features]."""

    ops = ("RNN", "GRU", "LSTM")

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Transpose what goes in and what comes out."""
        layout = node.attributes.get("layout")
        if layout is None or layout.as_int() == 0:
            return False
        inputs = list(node.inputs)
        inputs[0] = edit.emit(node, "Transpose", [inputs[0]], {"perm": _SEQUENCE})
        for place in _STATE_INPUTS:
            if place < len(inputs) and inputs[place] is not None:
                inputs[place] = edit.emit(node, "Transpose", [inputs[place]], {"perm": _STATE})
        attributes = {name: one for name, one in node.attributes.items() if name != "layout"}
        results = edit.emit_many(
            node,
            node.op_type,
            inputs,
            attributes,
            count=len(node.outputs),
            name=f"{node.name}.steps",
        )
        for place, (old, new) in enumerate(zip(list(node.outputs), results, strict=True)):
            if old.uses() or old.is_graph_output():
                perm = _OUTPUT if place == 0 else _STATE
                edit.replace(old, edit.emit(node, "Transpose", [new], {"perm": perm}))
        edit.remove(node)
        return True


PASS = RecurrentLayout
