"""`Reshape(Reshape(x)) -> Reshape(x)`; exact."""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of, reshape_target
from edgeseq.ir.passes import NodePass


class MergeReshapes(NodePass):
    """Skip a Reshape that another one follows."""

    ops = ("Reshape",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Read from before the first Reshape; the elements' order is the same."""
        first = None if node.inputs[0] is None else node.inputs[0].producer()
        if first is None or first.op_type != "Reshape" or first.domain:
            return False
        target = reshape_target(node.outputs[0].shape)
        if target is None:
            return "more than one dimension varies"
        known = data_of(node.inputs[1])
        shape = node.inputs[1]
        if known is None or list(known) != target:
            shape = edit.ints(target)
        edit.remake(node, "Reshape", [first.inputs[0], shape])
        return True


PASS = MergeReshapes
