"""A budget of time: as little is pruned as lets a step take that time.

The cost table says which densities should do. Where a step can be measured, it is: the dense model
and each attempt show how the table relates to the clock, until a measured time is within the budget
and close to it.
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
_CLOSE = 0.9  # of the budget: near enough, no denser model is looked for


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

    def within(self, budget: float) -> dict[Matrix, float]:
        """Return the densities that lose least in that time.

        Raises:
            BudgetError: not reachable; says what is.
        """
        return self._all(
            allocation.cheapest(self.errors, lambda m, d: self.times[m][d], budget, "a time")
        )

    def fewest(self) -> dict[Matrix, float]:
        """Return the densities with which all layers are fastest."""
        return self._all({m: min(times, key=lambda d: times[d]) for m, times in self.times.items()})

    def _all(self, chosen: Mapping[Matrix, float]) -> dict[Matrix, float]:
        return {m: chosen[first] for first, parts in self.layers.items() for m in parts}


@dataclasses.dataclass(frozen=True)
class _Line:
    """A step takes `rest + scale * what the table says of the layers`."""

    rest: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, table: float, measured: float) -> _Line:
        """With one measurement: the table is right, or too slow altogether."""
        return cls(measured - table) if measured > table else cls(0.0, measured / table)

    def through(self, dense: tuple[float, float], sparse: tuple[float, float]) -> _Line:
        """With two (table, measured): layers that evict each other take longer than the table."""
        apart = dense[0] - sparse[0], dense[1] - sparse[1]
        if min(apart) <= 0:  # noise
            return self
        scale = min(apart[1] / apart[0], dense[1] / dense[0])
        return _Line(dense[1] - scale * dense[0], scale)


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
    if measure is not None:
        return _by_the_clock(pruner, scores, found, cost, limit, measure)
    weights, goal = {m: m.get() for m in pruner.patterns}, limit
    masks = pruner.apply(scores, _within(found, goal, limit))
    # Of single entries a criterion may keep others than its first scores say: more blocks.
    while (taken := cost(masks)) > limit:
        _restore(weights)
        goal -= taken - limit + _SPARE * limit
        masks = pruner.apply(scores, _within(found, goal, limit))
    return Met(masks, f"the pruned layers are predicted to take {latency.text(taken)} a step")


def _within(found: Steps, goal: float, limit: float) -> dict[Matrix, float]:
    try:
        return found.within(goal)
    except BudgetError:
        raise _unreachable(limit, found.fastest) from None


def _unreachable(limit: float, best: float) -> BudgetError:
    return BudgetError(
        f"a time of {latency.text(limit)} is not reachable, the best is {latency.text(best)}",
        why="every layer is pruned as far as makes it faster",
        fix="allow more, or a smaller model",
    )


def _by_the_clock(
    pruner: Pruner,
    scores: Scores,
    found: Steps,
    cost: latency.Cost,
    limit: float,
    measure: Callable[[ir.Model], float],
) -> Met:
    """Prune, measure, and learn from it how the table relates to the clock."""
    weights = {m: m.get() for m in pruner.patterns}
    dense = found.dense, measure(pruner.model)
    if dense[1] <= limit:
        masks = pruner.apply(scores, dict.fromkeys(weights, 1.0))
        return Met(masks, f"a step takes {latency.text(dense[1])} when measured, nothing is pruned")
    line, best = _Line.of(*dense), dense[1]
    tried: list[dict[Matrix, float]] = []
    kept: tuple[float, dict[Matrix, float]] | None = None
    for _ in range(ATTEMPTS):
        try:
            chosen = found.within(((1 - _SPARE) * limit - line.rest) / line.scale)
        except BudgetError:
            chosen = found.fewest()
        if chosen in tried:
            break
        tried.append(chosen)
        masks = pruner.apply(scores, chosen)
        taken = measure(pruner.model)
        best, line = min(best, taken), line.through(dense, (cost(masks), taken))
        _restore(weights)
        if taken <= limit and (kept is None or _left(chosen) > _left(kept[1])):
            kept = taken, chosen
        if _CLOSE * limit <= taken <= limit:
            break
    if kept is None:
        raise _unreachable(limit, best)
    times = f"{latency.text(kept[0])} when measured, dense {latency.text(dense[1])}"
    return Met(pruner.apply(scores, kept[1]), f"a step takes {times}")


def _restore(weights: Mapping[Matrix, Array]) -> None:
    for matrix, array in weights.items():
        matrix.set(array)


def _left(densities: Mapping[Matrix, float]) -> float:
    return sum(m.size * d for m, d in densities.items())


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
