"""`Slice(x, f(T)) -> Slice(x, constant)` where the bound keeps its distance from an end; exact.

An end at the length of time is "to the end", one three steps before it is -3. Bounds in the middle
of time stay, with the reason.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.passes import GraphPass, walk

Array = npt.NDArray[Any]

_END = np.iinfo(np.int64).max


class ConstantBounds(GraphPass):
    """Say bounds that follow the length of time as constants."""

    def run(self, edit: Editor) -> bool:
        """Compute shapes first: the bounds come from them."""
        if edit.inference.samples.symbol is None:
            return False
        edit.inference.infer_graph(edit.model.graph)
        changed = False
        for node in list(walk(edit.model.graph)):
            if node.op_type == "Slice" and not node.domain:
                outcome = _rewrite(node, edit)
                if isinstance(outcome, str):
                    self.refuse(node, outcome)
                else:
                    changed |= outcome
        return changed


PASS = ConstantBounds


def _rewrite(node: ir.Node, edit: Editor) -> bool | str:
    if all(data_of(value) is not None for value in node.inputs[1:3]):
        return False
    source = node.inputs[0]
    shapes = None if source is None else edit.inference.shapes(source)
    columns = [None if v is None else edit.inference.data(v) for v in node.inputs[1:3]]
    axes = data_of(node.inputs[3]) if len(node.inputs) > 3 else None
    starts, ends = columns
    if shapes is None or starts is None or ends is None:
        return "its bounds are computed from data"
    places = (
        range(len(starts[0])) if axes is None else [int(axis) % len(shapes[0]) for axis in axes]
    )
    new = [
        [
            _bound([int(one[at]) for one in column], [shape[place] for shape in shapes], is_end)
            for at, place in enumerate(places)
        ]
        for column, is_end in ((starts, False), (ends, True))
    ]
    if any(bound is None for bounds in new for bound in bounds):
        return "its bounds move through time"
    values = [edit.ints([bound for bound in bounds if bound is not None]) for bounds in new]
    edit.remake(node, "Slice", [source, *values, *node.inputs[3:]])
    return True


def _bound(numbers: list[int], sizes: list[int], is_end: bool) -> int | None:
    """Return the constant that means the same at every length."""
    if len(set(numbers)) == 1:
        return numbers[0]
    if is_end and all(number >= size for number, size in zip(numbers, sizes, strict=True)):
        return _END
    distances = {number - size for number, size in zip(numbers, sizes, strict=True)}
    distance = distances.pop()
    return distance if not distances and distance < 0 else None
