"""`Gather(x, constant run) -> Slice(x)`, several runs -> Concat of slices; exact.

A run is a sequence of indices with one positive step. A scalar index is a Slice and a Reshape; a
table of indices is a run a row. Refused above eight runs: that is a real lookup.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.edit import Editor, axis_of, data_of
from edgeseq.ir.passes import NodePass

MOST_RUNS = 8


class GatherToSlice(NodePass):
    """Say constant indices as slices."""

    ops = ("Gather",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Find the runs and cut them out."""
        source, indices = node.inputs[0], data_of(node.inputs[1])
        if source is None or source.shape is None or indices is None:
            return False
        axis = axis_of(node, 0, len(source.shape))
        size = source.shape[axis]
        if not isinstance(size, int) and (indices < 0).any():
            return "it counts from the end of an axis that varies"
        if indices.ndim > 2:
            return f"its indices have {indices.ndim} dimensions"
        numbers = [int(i) + (int(size) if i < 0 else 0) for i in indices.ravel()]
        rows = [numbers]
        if indices.ndim == 2:
            width = indices.shape[1]
            rows = [numbers[i : i + width] for i in range(0, len(numbers), width or 1)]
        runs = [_runs(row) for row in rows]
        if not 0 < sum(map(len, runs)) <= MOST_RUNS:
            return f"its indices are {sum(map(len, runs))} runs"
        parts = [_cut(node, source, axis, row, edit) for row in runs]
        if indices.ndim == 1:
            result = parts[0]
        elif indices.ndim == 0:
            result = edit.emit(node, "Squeeze", [parts[0], edit.ints([axis])])
        else:
            axes = edit.ints([axis])
            tall = [edit.emit(node, "Unsqueeze", [part, axes]) for part in parts]
            result = tall[0] if len(tall) == 1 else edit.emit(node, "Concat", tall, {"axis": axis})
        edit.replace_node(node, result)
        return True


PASS = GatherToSlice

_Run = tuple[int, int, int]  # start, end, step


def _runs(numbers: list[int]) -> list[_Run]:
    """Cut a sequence into the fewest runs, greedily."""
    runs: list[_Run] = []
    at = 0
    while at < len(numbers):
        step = max(1, numbers[at + 1] - numbers[at]) if at + 1 < len(numbers) else 1
        last = at
        while last + 1 < len(numbers) and numbers[last + 1] - numbers[last] == step:
            last += 1
        runs.append((numbers[at], numbers[last] + 1, step if last > at else 1))
        at = last + 1
    return runs


def _cut(node: ir.Node, source: ir.Value, axis: int, runs: list[_Run], edit: Editor) -> ir.Value:
    whole = [(0, source.shape[axis], 1)] if source.shape is not None else []
    if runs == whole:
        return source
    parts = [edit.slice(node, source, axis, *run) for run in runs]
    return parts[0] if len(parts) == 1 else edit.emit(node, "Concat", parts, {"axis": axis})
