"""Which symbol is time, and which axes it is on.

Time is the symbol on the sequence axis of a recurrent layer or scan; without those, the only symbol
there is; with several, one with a usual name. Otherwise no axis is marked, and the pipeline asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx_ir as ir

from edgeseq.frontends.torch_ops import NAMESPACE
from edgeseq.ir import facts

_USUAL = ("t", "time", "seq", "seq_len", "sequence", "sequence_length", "length", "frames", "steps")


def time_symbol(model: ir.Model, names: list[str]) -> str | None:
    """Return the name of the time dimension, before recurrent layers are expanded."""
    for dim in _sequence_dims(model):
        found = [name for name in names if re.search(rf"\b{name}\b", dim)]
        if len(found) == 1:
            return found[0]
    if len(names) == 1:
        return names[0]
    usual = [name for name in names if name.lower() in _USUAL]
    return usual[0] if len(usual) == 1 else None


def mark_time(model: ir.Model, symbol: str) -> None:
    """Put `TimeAxis` on graph inputs and outputs that have an axis of this length."""
    for value in [*model.graph.inputs, *model.graph.outputs]:
        dims = [] if value.shape is None else [str(dim) for dim in value.shape]
        if symbol in dims:
            facts.put(value, facts.TimeAxis(dims.index(symbol), symbol))


def _sequence_dims(model: ir.Model) -> Iterator[str]:
    """The symbolic lengths of all sequences."""
    for node in model.graph.all_nodes():
        if node.domain == NAMESPACE:
            axis = node.attributes["batch_first"].as_int()
            value = node.inputs[0]
        elif node.op_type == "Scan" and node.domain == "":
            axis, value = 0, node.inputs[-1]
        else:
            continue
        if value is not None and value.shape is not None and len(value.shape) > axis:
            dim = value.shape[axis]
            if isinstance(dim, ir.SymbolicDim):
                yield str(dim)
