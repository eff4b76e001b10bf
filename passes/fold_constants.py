"""`f(constant, ...) -> constant`, `If(constant) -> branch`, `CastLike -> Cast`; exact.

Node by node in order: shapes first, since `Shape` of a known shape is a constant too. What is
computed is what ONNX's reference evaluator says.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir import branches
from edgeseq.ir.edit import Editor
from edgeseq.ir.infer import bodies
from edgeseq.ir.passes import GraphPass


class FoldConstants(GraphPass):
    """Replace what can be known now by initializers."""

    def run(self, edit: Editor) -> bool:
        """Fold the graph and its bodies."""
        return _fold(edit.model.graph, edit)

    def ensures(self, model: ir.Model) -> None:
        """No `Constant` node is left."""
        if any(node.op_type == "Constant" for node in model.graph):
            raise ir.passes.PostconditionError("a Constant node is left")


PASS = FoldConstants


def _fold(graph: ir.Graph, edit: Editor) -> bool:
    changed = False
    for node in graph:
        if node.op_type == "If" and node.domain == "" and _inline_branch(node, edit):
            changed = True
            continue
        if node.op_type == "CastLike" and node.domain == "":
            node = _cast(node, edit)
        edit.inference.infer(node)
        # The branches of an If that is left over are folded once `if-to-where` has opened them.
        for body in bodies(node) if node.op_type != "If" else ():
            changed |= _fold(body, edit)
        if all(_is_known(output) for output in node.outputs) and not _is_copied_output(node):
            _replace_by_constants(node, edit)
            changed = True
    return changed


def _cast(node: ir.Node, edit: Editor) -> ir.Node:
    """CastLike as Cast: of its second operand only the type matters."""
    like = node.inputs[1]
    if like is None or like.dtype is None:
        return node
    return edit.remake(node, "Cast", [node.inputs[0]], {"to": ir.AttrInt64("to", int(like.dtype))})


def _is_known(output: ir.Value) -> bool:
    return output.const_value is not None or not (output.uses() or output.is_graph_output())


def _is_copied_output(node: ir.Node) -> bool:
    """Whether this is the Identity that makes a constant a graph output."""
    return bool(node.op_type == "Identity" and node.outputs[0].is_graph_output())


def _replace_by_constants(node: ir.Node, edit: Editor) -> None:
    for output in node.outputs:
        tensor, name = output.const_value, output.name
        if tensor is None or name is None:
            continue
        if not output.is_graph_output():
            output.name = edit.name(f"{name}.old")
            edit.release([name])
        constant = edit.constant(tensor.numpy(), name)
        constant.metadata_props.update(output.metadata_props)
        edit.replace(output, constant)
    edit.remove(node)


def _inline_branch(node: ir.Node, edit: Editor) -> bool:
    """Put the branch an `If` always takes in its place."""
    condition = node.inputs[0]
    known = None if condition is None else edit.inference.data(condition)
    if known is None or len({bool(one.item()) for one in known}) != 1 or node.graph is None:
        return False
    nodes, ends = branches.inline(node, bool(known[0].item()), edit)
    for output, end in zip(node.outputs, ends, strict=True):
        _hand_over(output, end, nodes, node, edit)
    node.graph.remove(node, safe=True)
    return True


def _hand_over(
    output: ir.Value, end: ir.Value, nodes: list[ir.Node], node: ir.Node, edit: Editor
) -> None:
    """Let users of the If's output use the end of the branch, which follows the If."""
    if output.is_graph_output() and end.producer() not in nodes and node.graph is not None:
        last = nodes[-1] if nodes else node
        copy = ir.node("Identity", [end], name=edit.name(f"{node.name}.copy"))
        copy.outputs[0].name = edit.name(f"{node.name}.copied")
        node.graph.insert_after(last, copy)
        end = copy.outputs[0]
    edit.replace(output, end)
