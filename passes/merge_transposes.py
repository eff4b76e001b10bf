"""`Transpose(Transpose(x, p), q) -> Transpose(x, p[q])`; exact."""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import NodePass


class MergeTransposes(NodePass):
    """Skip a Transpose that another one follows; two that cancel are the input itself."""

    ops = ("Transpose",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Compose the permutations."""
        first = None if node.inputs[0] is None else node.inputs[0].producer()
        if first is None or first.op_type != "Transpose" or first.domain:
            return False
        inner, outer = _perm(first), _perm(node)
        source = first.inputs[0]
        if inner is None or outer is None or source is None:
            return "its rank is not known"
        perm = [inner[axis] for axis in outer]
        if perm == sorted(perm) and not node.outputs[0].is_graph_output():
            edit.replace_node(node, source)
        else:
            edit.remake(node, "Transpose", [source], {"perm": perm})
        return True


PASS = MergeTransposes


def _perm(node: ir.Node) -> list[int] | None:
    given, source = node.attributes.get("perm"), node.inputs[0]
    if given is not None:
        return list(given.as_ints())
    if source is None or source.shape is None:
        return None
    return list(reversed(range(len(source.shape))))
