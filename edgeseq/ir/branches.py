"""The branches of an `If`, in place of it."""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.edit import Editor


def inline(node: ir.Node, taken: bool, edit: Editor) -> tuple[list[ir.Node], list[ir.Value]]:
    """Move the nodes of a branch behind its `If`; the branch is empty afterwards.

    Args:
        node: The `If`, which stays.
        taken: Which branch: `then_branch` where true.
        edit: Of the graph.

    Returns:
        The nodes, and the outputs of the branch: values of the graph that the `If` is in.
    """
    if node.graph is None:
        raise ValueError("the If is not in a graph")
    branch = node.attributes["then_branch" if taken else "else_branch"].as_graph()
    values = [output for inner in branch for output in inner.outputs]
    edit.release([inner.name for inner in branch] + [value.name for value in values])
    edit.release(list(branch.initializers))
    for value in list(branch.initializers.values()):
        if value.const_value is not None:
            value.replace_all_uses_with(
                edit.constant(value.const_value.numpy(), value.name or "c"),
                replace_graph_outputs=True,
            )
    nodes, ends = list(branch), list(branch.outputs)
    branch.outputs.clear()
    branch.remove(nodes)
    for inner in nodes:
        inner.name = edit.name(inner.name or inner.op_type)
        for value in inner.outputs:
            value.name = edit.name(value.name) if value.name else value.name
    node.graph.insert_after(node, nodes)
    return nodes, ends
