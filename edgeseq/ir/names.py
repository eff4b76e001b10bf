"""Every node has a name of its own: messages, records and emitted code use it."""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir import facts
from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import walk


def name_nodes(model: ir.Model) -> None:
    """Name nodes that have no name or share one; note names that were given as the user's."""
    edit = Editor(model)
    seen: set[str] = set()
    for node in walk(model.graph):
        if node.name and facts.get(node, facts.SourceName) is None:
            facts.put(node, facts.SourceName(node.name))
        first = next((output.name for output in node.outputs if output.name), node.op_type)
        if not node.name or node.name in seen:
            node.name = edit.name(node.name or f"{node.op_type}.{first}")
        seen.add(node.name)
