"""Nodes, outputs and initializers that nothing uses disappear; exact."""

from __future__ import annotations

from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import GraphPass


class EliminateDead(GraphPass):
    """Remove what no graph output depends on."""

    def run(self, edit: Editor) -> bool:
        """Sweep once, backwards: a node is seen after all its users."""
        return edit.sweep()


PASS = EliminateDead
