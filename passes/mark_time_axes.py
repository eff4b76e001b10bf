"""Graph outputs that run along time are marked `TimeAxis`; nothing is computed differently."""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir import facts
from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import GraphPass


class MarkTimeAxes(GraphPass):
    """Say which axis of an output is time."""

    def run(self, edit: Editor) -> bool:
        """An output's time axis is the one whose size is the symbol of time."""
        span = facts.get(edit.model, facts.DimRange)
        changed = False
        for value in edit.model.graph.outputs:
            for axis, dim in enumerate(value.shape or ()):
                if span is not None and isinstance(dim, ir.SymbolicDim) and dim == span.symbol:
                    fact = facts.TimeAxis(axis, span.symbol)
                    changed |= facts.get(value, facts.TimeAxis) != fact
                    facts.put(value, fact)
        return changed


PASS = MarkTimeAxes
