"""How a global density is shared out over the layers.

| name | density of layer l |
|---|---|
| `uniform` | D |
| `uniform-plus` | D; a first convolution stays dense, a last linear layer keeps 0.2 at least |
| `er` | e (n_in + n_out) / (n_in n_out), the scale e such that D is met |
| `erk` | e (sum of the kernel's dims) / (their product), likewise |
| `erk-plus` | a last linear layer stays dense, `erk` for the rest |
| `global` | what is left of it when all groups are ranked together by their mean score |
| `snip` | as `global` on the gradient scores; the positions are the criterion's own |
| `sensitivity` | where the model's output error, measured layer by layer, grows least per weight |

A layer is a weight of one direction: its gates share a density, except under `global` and `snip`.
`sensitivity` and a latency budget choose from a grid of densities with `cheapest`. Sources: arXiv
2202.02643 (ER, ERK and their plus forms), 1810.02340 (SNIP).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import BudgetError, UsageError
from edgeseq.ir.patterns import Pattern
from edgeseq.registry import hint
from edgeseq.train.prunable import CONVOLUTION, LINEAR, Matrix

Array = npt.NDArray[Any]
Densities = dict[Matrix, float]
Patterns = Mapping[Matrix, Pattern]
Scores = Mapping[Matrix, Array]

BY_SHAPE = ("uniform", "uniform-plus", "er", "erk", "erk-plus")
BY_SCORE = ("global", "snip")
NAMES = (*BY_SHAPE, *BY_SCORE, "sensitivity")

LAST_LAYER_LEAST = 0.2  # uniform+
GRID = (0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)


def check(name: str) -> None:
    """Refuse an unknown name.

    Raises:
        UsageError: there is no such allocation.
    """
    if name not in NAMES:
        raise UsageError(f"unknown allocation '{name}'", fix=hint(name, NAMES))


def by_shape(name: str, matrices: Sequence[Matrix], density: float) -> Densities:
    """Share out by the shapes alone (`BY_SHAPE`)."""
    sizes = [m.size for m in matrices]
    held: Densities = {}
    if name == "uniform-plus":
        if matrices and matrices[0].kind == CONVOLUTION:
            held[matrices[0]] = 1.0
        if matrices and matrices[-1].kind == LINEAR:
            held[matrices[-1]] = max(density, LAST_LAYER_LEAST)
    if name == "erk-plus" and matrices and matrices[-1].kind == LINEAR:
        held[matrices[-1]] = 1.0
    rest = [m for m in matrices if m not in held]
    budget = density * sum(sizes) - sum(d * m.size for m, d in held.items())
    pool = sum(m.size for m in rest)
    if rest and budget <= 0:
        raise UsageError(
            f"a density of {density:g} cannot be reached with '{name}'",
            why="the layers it keeps dense hold more weights than that",
            fix="--allocation erk, or a higher density",
        )
    if name in ("uniform", "uniform-plus"):
        shares = [min(1.0, budget / pool)] * len(rest)
    else:
        whole = _layer_outputs(matrices)
        raw = [_raw(m, whole[_layer(m)], kernel=name != "er") for m in rest]
        shares = scaled(raw, [m.size for m in rest], budget / pool) if rest else []
    return held | dict(zip(rest, shares, strict=True))


def scaled(raw: Sequence[float], sizes: Sequence[int], density: float) -> list[float]:
    """Return e * raw with their mean, weighted by size, at `density`, and none above 1.

    Layers that would be above 1 become dense, the largest ones first, and e is solved again.
    """
    wide, weights = np.array(raw, np.float64), np.array(sizes, np.float64)
    dense = np.zeros(len(raw), np.bool_)
    while True:
        left = density * weights.sum() - weights[dense].sum()
        scale = left / (wide[~dense] @ weights[~dense]) if not dense.all() else 0.0
        shares = np.where(dense, 1.0, scale * wide)
        top = shares[~dense].max(initial=0.0)
        if top <= 1:
            return [float(s) for s in shares]
        dense |= ~dense & np.isclose(shares, top)


def by_score(
    matrices: Sequence[Matrix], patterns: Patterns, scores: Scores, density: float
) -> Densities:
    """Rank the groups of all matrices together by mean score and keep the best.

    Every matrix keeps one group at least. Groups differ in size where patterns do: the last one
    taken is the one that reaches the budget.
    """
    means, sizes, owners = [], [], []
    for place, matrix in enumerate(matrices):
        pattern = patterns[matrix]
        members = pattern.gather(np.ones(matrix.shape), matrix.taps).ravel()
        sums = pattern.gather(scores[matrix].astype(np.float64), matrix.taps).ravel()
        # A block cut off by the edge is ranked by what it costs to store: a whole block.
        means.append(sums / members.max(initial=1))
        sizes.append(members)
        owners.append(np.full(len(sums), place))
    ranked, size = np.concatenate(means), np.concatenate(sizes)
    # In order of score, the later group first among equals, as `Pattern.mask` keeps them.
    order = np.argsort(ranked, kind="stable")[::-1]
    budget = density * sum(m.size for m in matrices)
    count = int(np.searchsorted(np.cumsum(size[order]), budget - 1e-6)) + 1
    kept = np.bincount(np.concatenate(owners)[order[:count]], minlength=len(matrices))
    totals = [len(s) for s in sizes]
    return {m: max(1, int(k)) / n for m, k, n in zip(matrices, kept, totals, strict=True)}


def within_layers(matrices: Sequence[Matrix], scores: Scores) -> dict[Matrix, Array]:
    """Divide scores by their mean over the layer, so that no layer loses to another as a whole."""
    found: dict[Matrix, Array] = {}
    for parts in layers(matrices).values():
        mean = sum(float(finite(scores[m]).sum()) for m in parts) / sum(m.size for m in parts)
        found |= {m: scores[m] / (mean or 1.0) for m in parts}
    return found


def finite(scores: Array) -> Array:
    """Return the scores but those that are infinite: entries that must stay."""
    return np.where(np.isfinite(scores), scores, 0.0)


def cheapest(
    errors: Mapping[Matrix, Mapping[float, float]],
    cost: Callable[[Matrix, float], float],
    budget: float,
    what: str = "the budget",
) -> Densities:
    """Choose densities whose cost is within the budget and whose errors add up to little.

    From all dense, the step to a lower density that costs the least error per saving is taken until
    the budget is met. Serves sensitivity (cost: weights stored) and latency (cost: microseconds).

    Args:
        errors: Per layer (its first matrix stands for it), density -> error; 1 is error 0.
        cost: What a layer costs at a density.
        budget: What all layers together may cost.
        what: Name of the budget in messages.

    Raises:
        BudgetError: even the sparsest choice costs more.
    """
    chosen = dict.fromkeys(errors, 1.0)
    spent = sum(cost(m, 1.0) for m in errors)
    while spent > budget:
        steps = [
            (max(grid[d] - grid.get(chosen[m], 0.0), 0.0) / saved, saved, m, d)
            for m, grid in errors.items()
            for d in grid
            if d < chosen[m] and (saved := cost(m, chosen[m]) - cost(m, d)) > 0
        ]
        if not steps:
            raise BudgetError(
                f"{what} of {budget:g} is not reachable, the best is {spent:g}",
                why="every layer is at its lowest density already",
                fix="allow more, or a smaller model",
            )
        _, saved, matrix, density = min(steps, key=lambda step: step[0])
        spent -= saved
        chosen[matrix] = density
    return chosen


def layers(matrices: Sequence[Matrix]) -> dict[Matrix, list[Matrix]]:
    """Group matrices into layers, each under its first matrix."""
    grouped: dict[object, list[Matrix]] = {}
    for matrix in matrices:
        grouped.setdefault(_layer(matrix), []).append(matrix)
    return {parts[0]: parts for parts in grouped.values()}


def _layer(matrix: Matrix) -> tuple[object, int]:
    return matrix.weight, matrix.uses[0].direction


def _layer_outputs(matrices: Sequence[Matrix]) -> dict[object, int]:
    return {_layer(parts[0]): sum(m.shape[0] for m in parts) for parts in layers(matrices).values()}


def _raw(matrix: Matrix, outputs: int, *, kernel: bool) -> float:
    """Return (sum of dims) / (product of dims); without `kernel`, taps are not counted as dims."""
    inputs = matrix.shape[1] // matrix.taps
    if not kernel or matrix.taps == 1:
        return (inputs + outputs) / (inputs * outputs)
    dims = matrix.weight.const_value.shape[2:]
    return float((inputs + outputs + sum(dims)) / (inputs * outputs * math.prod(dims)))
