"""A budget of time: as little is pruned as lets a step take that time.

The cost table says which densities should do. Where a step can be measured, it is, and what the
table was wrong by is taken off the goal until the measured time is within the budget.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.errors import BudgetError, UsageError
from edgeseq.ir.patterns import Mask
from edgeseq.lower.costs import CostTable
from edgeseq.train import allocation, latency
from edgeseq.train.prunable import Matrix
from edgeseq.train.pruning import Pruner

Array = npt.NDArray[Any]
Scores = Mapping[Matrix, Array]

ATTEMPTS = 4  # to meet a budget when measured
_SPARE = 0.02  # of the budget, so that the next attempt is not level with it


@dataclasses.dataclass(frozen=True)
class Met:
    """A model pruned within a budget.

    Args:
        masks: What was kept.
        note: What a step takes, for the user.
    """

    masks: dict[Matrix, Mask]
    note: str


@dataclasses.dataclass(frozen=True)
class Steps:
    """What layers cost and lose at every density that they may have.

    Args:
        layers: Matrices whose kernels are the same, under the first of them.
        errors: By the first matrix and density.
        times: Likewise, in seconds; 1 is dense.
    """

    layers: Mapping[Matrix, Sequence[Matrix]]
    errors: Mapping[Matrix, Mapping[float, float]]
    times: Mapping[Matrix, Mapping[float, float]]

    @property
    def dense(self) -> float:
        """Seconds of all layers if nothing is pruned."""
        return sum(times[1.0] for times in self.times.values())

    @property
    def fastest(self) -> float:
        """Seconds of all layers if each is pruned to where it is fastest."""
        return sum(min(times.values()) for times in self.times.values())

    def within(self, budget: float, rest: float = 0.0) -> dict[Matrix, float]:
        """Return the densities that lose least in that time, what else takes time included.

        Raises:
            BudgetError: not reachable; says what is.
        """
        chosen = allocation.cheapest(
            self.errors, lambda m, d: self.times[m][d], budget, "a time", rest
        )
        return {m: chosen[first] for first, parts in self.layers.items() for m in parts}


def steps(pruner: Pruner, scores: Scores, cost: latency.Cost) -> Steps:
    """Price every layer at every density, and see what it loses there.

    With samples that is the error of the outputs, else the share of the squared scores.
    """
    own = next(iter(pruner.patterns.values())).fixed_density
    grid = allocation.GRID if own is None else (own,)
    layers = latency.layers(list(pruner.patterns))
    times = {
        first: {d: cost(_masks(pruner, parts, scores, d)) for d in (1.0, *grid)}
        for first, parts in layers.items()
    }
    if pruner.evidence.samples:
        # A layer that does not get faster is not pruned: its errors need no runs of the model.
        faster = {m: layers[m] for m in layers if min(times[m].values()) < times[m][1.0]}
        errors = pruner.sensitivity(faster, scores, grid)
        return Steps(layers, {m: errors.get(m, {}) for m in layers}, times)
    lost = {m: _lost(pruner, parts, scores, grid) for m, parts in layers.items()}
    return Steps(layers, lost, times)


def meet(
    pruner: Pruner,
    table: CostTable,
    budget: str,
    measure: Callable[[ir.Model], float] | None = None,
) -> Met:
    """Prune a model so that a step takes no longer than a budget.

    Args:
        pruner: Holds the dense model; its request's sparsity is ignored.
        table: Times of kernels.
        budget: As `0.2ms`.
        measure: Returns the seconds of a step: then the budget is the whole model's, and kept to
            by the clock. None: that of the layers that are pruned, by the table.

    Raises:
        BudgetError: not reachable; says what is.
        UsageError: not a time, or the table has none of these layers.
    """
    limit = latency.seconds(budget)
    cost = latency.model(table)
    scores = pruner.scores()
    found = steps(pruner, scores, cost)
    if not found.dense:
        raise UsageError(
            "the cost table has no time of any layer that can be pruned",
            fix="measure one: edgeseq bench kernels --save FILE, then --cost-table FILE",
        )
    dense = None if measure is None else measure(pruner.model)
    rest = max(0.0, (dense or 0.0) - found.dense)
    scale = found.dense / dense if dense and found.dense > dense else 1.0  # the table is too slow
    goal, weights = limit, {m: m.get() for m in pruner.patterns}
    reached: list[float] = []
    for _ in range(ATTEMPTS):
        try:
            densities = found.within(goal * scale, rest)
        except BudgetError:
            break
        masks = pruner.apply(scores, densities)
        taken = (rest + cost(masks)) / scale
        if measure is not None and any(d < 1 for d in densities.values()):
            taken = measure(pruner.model)
        if taken <= limit:
            return Met(masks, _note(dense, taken))
        reached.append(taken)
        for matrix, array in weights.items():
            matrix.set(array)
        goal -= taken - limit + _SPARE * limit
    best = min(reached, default=(rest + found.fastest) / scale)
    raise BudgetError(
        f"a time of {latency.text(limit)} is not reachable, the best is {latency.text(best)}",
        why="measured, with the layers pruned as far as that should take"
        if reached
        else "every layer is at its lowest density already",
        fix="allow more, or a smaller model",
    )


def _note(dense: float | None, taken: float) -> str:
    if dense is None:
        return f"the pruned layers are predicted to take {latency.text(taken)} a step"
    return f"a step takes {latency.text(taken)} when measured, dense {latency.text(dense)}"


def _masks(
    pruner: Pruner, parts: Sequence[Matrix], scores: Scores, density: float
) -> dict[Matrix, Mask]:
    return {m: pruner.patterns[m].mask(scores[m], density, m.taps) for m in parts}


def _lost(
    pruner: Pruner, parts: Sequence[Matrix], scores: Scores, grid: Sequence[float]
) -> dict[float, float]:
    """The share of the squared scores that is lost at each density."""
    lost = dict.fromkeys(grid, 0.0)
    for density in grid:
        for matrix, mask in _masks(pruner, parts, scores, density).items():
            squares = np.where(np.isfinite(scores[matrix]), scores[matrix], 0.0) ** 2
            lost[density] += float(squares[~mask].sum() / (squares.sum() or 1.0))
    return lost
