"""`If(c, then, else) -> Where(c, then, else)`, both computed; exact.

What is compiled has no branches: a frame takes the same time whatever is in it. Only branches that
can be computed in vain are: an index or an integer divisor that is valid in one case alone would
be used in the other as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from edgeseq.ir import branches
from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.infer import describe
from edgeseq.ir.passes import NodePass, walk

# They trust their second input, indices or an integer divisor: a wrong one reaches outside of
# memory, or traps.
_INDEXED = frozenset({"Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"})
_DIVIDED = frozenset({"Div", "Mod"})


class IfToWhere(NodePass):
    """Compute both branches of what only the run decides."""

    ops = ("If",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Replace one `If`; those in its branches come first."""
        edit.inference.infer(node)
        if why := next(_problems(node), ""):
            return why
        ends = []
        for taken in (True, False):
            nodes, outputs = branches.inline(node, taken, edit)
            _move_behind(node, nodes)
            ends.append(outputs)
        scalar = edit.reshape(node, node.inputs[0], []) if _rank(node.inputs[0]) else node.inputs[0]
        for output, one, other in zip(node.outputs, *ends, strict=True):
            edit.replace(output, edit.emit(node, "Where", [scalar, one, other]))
        edit.remove(node)
        return True


def _problems(node: ir.Node) -> Iterator[str]:
    condition = node.inputs[0]
    if condition is None or condition.shape is None or not condition.shape.is_static():
        yield "its condition has no known shape"
    ends = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    inside = [inner for branch in ends for inner in walk(branch)]
    for inner in inside:
        if any(o.type and not isinstance(o.type, ir.TensorType) for o in inner.outputs):
            yield f"{describe(inner)} makes no tensor"
        if not all(_is_known(output) for output in inner.outputs if output.name):
            yield f"{describe(inner)} does not fit the shapes that were given"
    for output, one, other in zip(node.outputs, *(end.outputs for end in ends), strict=True):
        if one.shape is None or one.shape != other.shape or one.dtype != other.dtype:
            yield f"its branches give '{output.name}' different shapes or types"
    for inner in inside:
        if not inner.domain and _trusts(inner):
            yield f"{describe(inner)} in one branch may not be computed in vain"


def _trusts(node: ir.Node) -> bool:
    """Whether the node relies on numbers that are right only if its branch is taken."""
    if node.op_type not in _INDEXED | _DIVIDED or data_of(node.inputs[1]) is not None:
        return False
    return node.op_type in _INDEXED or not _is_float(node.inputs[1])


def _is_known(value: ir.Value) -> bool:
    dims = None if value.shape is None else list(value.shape)
    return dims is not None and all(isinstance(d, int) or d.value is not None for d in dims)


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype is not None and value.dtype.is_floating_point()


def _rank(value: ir.Value | None) -> int:
    return 0 if value is None or value.shape is None else len(value.shape)


def _move_behind(node: ir.Node, nodes: list[ir.Node]) -> None:
    graph = node.graph
    if nodes and graph is not None:
        graph.remove(node)
        graph.insert_after(nodes[-1], node)


PASS = IfToWhere
