"""`Squeeze | Unsqueeze | Flatten | Transpose of size-1 axes -> Reshape(x, constant)`; exact.

So are a sum, mean, product, maximum or minimum over axes of size 1.

A Reshape whose target is computed becomes one with a constant target too: at most one dimension
varies with time, and that is the -1. What only looks at data differently is then one operator.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of, reshape_target
from edgeseq.ir.passes import NodePass


class ViewsToReshape(NodePass):
    """Say every view as a Reshape to a constant."""

    ops = (
        "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Reshape",
        "ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin",
    )  # fmt: skip

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Reshape to the output's own shape."""
        if node.op_type == "Transpose" and not _moves_only_ones(node):
            return False
        if node.op_type.startswith("Reduce") and not _reduces_only_ones(node):
            return False
        target = reshape_target(node.outputs[0].shape)
        if target is None:
            return "more than one dimension varies"
        known = data_of(node.inputs[1]) if node.op_type == "Reshape" else None
        if known is not None and known.tolist() == target:
            return False
        edit.remake(node, "Reshape", [node.inputs[0], edit.ints(target)])
        return True


PASS = ViewsToReshape


def _moves_only_ones(node: ir.Node) -> bool:
    source = node.inputs[0]
    if source is None or source.shape is None:
        return False
    given = node.attributes.get("perm")
    perm = list(given.as_ints()) if given else list(reversed(range(len(source.shape))))
    kept = [axis for axis in perm if source.shape[axis] != 1]
    return kept == sorted(kept)


def _reduces_only_ones(node: ir.Node) -> bool:
    source, output = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or output.shape is None:
        return False
    return [d for d in source.shape if d != 1] == [d for d in output.shape if d != 1]
