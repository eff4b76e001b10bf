"""Calls of our own functions `-> their bodies`, which lowering then sees as standard operators.

The saved model keeps the calls: they say what the user wrote. Where a body computes with weights
alone (a transposed matrix), the result is a constant again, so that kernels can pack it.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from edgeseq import pipeline
from edgeseq.frontends.torch_lstmp import DOMAIN, FORWARD, REVERSE

FUNCTIONS = frozenset({f"{DOMAIN}.{FORWARD}", f"{DOMAIN}.{REVERSE}"})
_CLEANING = ("fold-constants", "eliminate-identity", "views-to-reshape", "eliminate-dead")


def inlined(model: ir.Model) -> ir.Model:
    """The model itself, or a copy without functions."""
    if not model.functions:
        return model
    copy = model.clone()
    common.InlinePass()(copy)
    pipeline.prepare(copy, passes=_CLEANING)
    return copy
