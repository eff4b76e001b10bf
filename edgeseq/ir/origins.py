"""Which graph inputs the data of a value come from."""

from __future__ import annotations

import onnx_ir as ir


def origins(value: ir.Value | None) -> list[ir.Value]:
    """Graph inputs whose data decide a value; one of which only the shape is read does not."""
    found: list[ir.Value] = []
    seen: set[ir.Value | None] = {None}
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if one is None or one in seen:
            continue
        seen.add(one)
        node = one.producer()
        if node is None and one.is_graph_input():
            found.append(one)
        elif node is not None and node.op_type not in ("Shape", "Size"):
            waiting += node.inputs
    return found
