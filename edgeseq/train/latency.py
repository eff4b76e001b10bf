"""The time a layer takes at a density, from the table of kernel costs: what `--budget` spends."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeseq.errors import UsageError
from edgeseq.ir.patterns import Pattern
from edgeseq.lower.costs import CostTable
from edgeseq.train.prunable import INPUT, LINEAR, RECURRENT, Matrix
from edgeseq.train.pruning import Cost

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_KERNELS = {"16x1": "f32_b16x1", "8x1": "f32_b8x1"}  # pattern -> format that leaves its zeros out


def seconds(text: str) -> float:
    """Read `0.2ms`.

    Raises:
        UsageError: it is no time.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s)", text.strip())
    if found is None or not float(found[1]):
        raise UsageError(f"cannot read --budget '{text}'", fix="for example: --budget 0.2ms")
    return float(found[1]) * _UNITS[found[2]]


def model(table: CostTable, matrices: Sequence[Matrix]) -> Cost:
    """Return the seconds of one step of a matrix, the faster of its dense and its sparse kernel.

    The matrices of a recurrence run in one kernel: each takes its share of that one's time. What
    the table does not know costs nothing, so it stays dense.
    """
    # The newest instruction set may add to integer kernels alone: those of floats are older.
    floats = [name for name, known in table.levels.items() if any("_f32" in k for k in known)]
    level = floats[-1] if floats else None
    nodes: dict[object, list[Matrix]] = {}
    for matrix in matrices:
        nodes.setdefault((matrix.uses[0].node, matrix.uses[0].direction), []).append(matrix)

    def cost(matrix: Matrix, pattern: Pattern, density: float) -> float:
        parts = nodes[matrix.uses[0].node, matrix.uses[0].direction]
        if matrix.kind in (INPUT, RECURRENT):
            kind = matrix.uses[0].node.op_type.lower()
            sides = {slot: [m for m in parts if m.uses[0].slot == slot] for slot in (1, 2)}
            rows = max(sum(m.shape[0] for m in side) for side in sides.values())
            cols = sum(side[0].shape[1] for side in sides.values() if side)
        elif matrix.kind == LINEAR:
            kind, (rows, cols) = "linear", matrix.shape
        else:
            return 0.0
        forms = {"f32": 1.0}
        if pattern.text in _KERNELS:
            forms[_KERNELS[pattern.text]] = density
        times = [table.layer_seconds(kind, rows, cols, d, form, level) for form, d in forms.items()]
        return min((t for t in times if t is not None), default=0.0) * matrix.size / (rows * cols)

    return cost
