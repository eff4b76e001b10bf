"""`f(x), f(x) -> f(x)`: what is computed or stored twice is kept once; exact."""

from __future__ import annotations

from onnx_ir.passes import common

from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import GraphPass


class EliminateCommon(GraphPass):
    """Share equal initializers, then equal nodes."""

    def run(self, edit: Editor) -> bool:
        """Run onnx_ir's own passes; both leave states and outputs as they are."""
        shared = common.DeduplicateHashedInitializersPass(size_limit=1 << 62)(edit.model).modified
        merged = common.CommonSubexpressionEliminationPass()(edit.model).modified
        return bool(merged or shared)


PASS = EliminateCommon
