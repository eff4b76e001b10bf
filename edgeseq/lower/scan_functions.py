"""Calls of our own functions `-> their bodies`, which lowering then sees as standard operators.

The saved model keeps the calls: they say what the user wrote. Where a body computes with weights
alone (a transposed matrix), the result is a constant again, so that kernels can pack it.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from edgeseq import pipeline
from edgeseq.frontends.torch_lstmp import DOMAIN, FORWARD, REVERSE
from edgeseq.ir import dialect
from edgeseq.ir.passes import walk
from edgeseq.lower import select_quantized, stored

FUNCTIONS = frozenset(f"{DOMAIN}.{name}" for name in (FORWARD, REVERSE, *dialect.OPS))
_CLEANING = ("fold-constants", "eliminate-identity", "views-to-reshape", "eliminate-dead")


def inlined(model: ir.Model) -> ir.Model:
    """The model itself, or a copy without calls of functions but those that have kernels."""
    kept = select_quantized.with_kernels(model)
    called = {n.op_identifier() for n in walk(model.graph)} & model.functions.keys()
    packed = any(n.op_type == "DequantizeLinear" for n in walk(model.graph))
    if called <= kept and not packed:
        return model
    copy = model.clone()
    if packed:
        stored.resolve(copy)
    if called <= kept:
        return copy
    common.InlinePass(lambda function: function.identifier() not in kept)(copy)
    pipeline.prepare(copy, passes=_CLEANING)
    return copy
