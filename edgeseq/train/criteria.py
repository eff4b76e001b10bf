"""Which weights matter: each criterion scores every entry of a matrix, higher is kept.

| name | score of entry (o, i) | looks at | source |
|---|---|---|---|
| `magnitude` | abs(w) | weights | the common baseline |
| `random` | uniform, seeded; counts stay exact | nothing | baseline, arXiv 2202.02643 |
| `wanda` | abs(w) * norm(x_i) | inputs | arXiv 2306.11695 |
| `second-order` | w^2 / inv(H)_ii, the rest is re-fitted | inputs | OBS; arXiv 2301.00774 |
| `dsnot` | as `wanda`, then swaps that cancel the error | inputs | arXiv 2310.08915 |
| `gradient` | mean abs(w * d(v.y)/dw), v random signs | outputs | SNIP, arXiv 1810.02340 |

`--allocation global` compares scores of different layers: as they are, or, where they say nothing
beyond their layer (`comparable`), relative to their mean. A recurrent matrix is scored with its
inputs of all steps.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError
from edgeseq.ir.patterns import Mask, Pattern
from edgeseq.registry import hint
from edgeseq.train import dsnot, gradient, second_order
from edgeseq.train.evidence import Evidence
from edgeseq.train.prunable import Matrix
from edgeseq.train.statistics import per_row

Array = npt.NDArray[Any]
Scores = dict[Matrix, Array]


class Criterion(abc.ABC):
    """How important each weight is, and what becomes of a matrix at a density."""

    needs_data = True
    # Whether scores of different layers compare as they are; else `global` compares what each is
    # worth within its layer: norms of inputs say nothing about how much a layer matters.
    comparable = True

    @abc.abstractmethod
    def scores(self, evidence: Evidence) -> Scores:
        """Return [outputs, inputs] of every matrix, >= 0."""

    def prune(
        self, matrix: Matrix, scores: Array, pattern: Pattern, density: float, evidence: Evidence
    ) -> tuple[Mask, Array]:
        """Return what is kept, and the weights afterwards."""
        del evidence
        mask = pattern.mask(scores, density, matrix.taps)
        return mask, np.where(mask, matrix.get(), 0)


class Magnitude(Criterion):
    """abs(w)."""

    needs_data = False

    def scores(self, evidence: Evidence) -> Scores:
        """Return the absolute weights."""
        return {m: np.abs(m.get()) for m in evidence.matrices}


class Random(Criterion):
    """Uniform numbers: the density is exact, not met on average."""

    needs_data = False

    def scores(self, evidence: Evidence) -> Scores:
        """Return numbers that depend on the seed and the matrix's place in the model."""
        return {
            m: np.random.default_rng([evidence.seed, place]).random(m.shape)
            for place, m in enumerate(evidence.matrices)
        }


class Wanda(Criterion):
    """abs(w) * norm(x): a weight counts as much as it moves the layer's output."""

    comparable = False

    def scores(self, evidence: Evidence) -> Scores:
        """Return the weights scaled by the size of their inputs, of the layer's whole output 1."""
        return {
            m: np.abs(m.get()) * per_row(s.norms, m) / np.sqrt(s.error(m.get()) or 1)
            for m, s in evidence.statistics.items()
        }


class SecondOrder(Criterion):
    """Optimal brain surgeon on the layer's output error; see `second_order`."""

    comparable = False

    def scores(self, evidence: Evidence) -> Scores:
        """Return how much of the layer's output is lost, the other weights re-fitted."""
        return {m: second_order.saliency(m, s) for m, s in evidence.statistics.items()}

    def prune(
        self, matrix: Matrix, scores: Array, pattern: Pattern, density: float, evidence: Evidence
    ) -> tuple[Mask, Array]:
        """Prune in rounds; after each the kept weights take over what the pruned ones did."""
        held = np.isinf(scores)  # what is finite holds for the first round only
        return second_order.prune(matrix, evidence.statistics[matrix], pattern, density, held)


class DSnoT(Wanda):
    """The mask of `wanda`, repaired; the weights that stay are not touched; see `dsnot`."""

    def prune(
        self, matrix: Matrix, scores: Array, pattern: Pattern, density: float, evidence: Evidence
    ) -> tuple[Mask, Array]:
        """Swap kept and pruned groups until the mean error of each output is small."""
        mask, _ = super().prune(matrix, scores, pattern, density, evidence)
        mask = dsnot.repair(matrix, mask, scores, pattern, evidence.statistics[matrix])
        return mask, np.where(mask, matrix.get(), 0)


class Gradient(Criterion):
    """abs(w * dy/dw), through time; see `gradient`."""

    def scores(self, evidence: Evidence) -> Scores:
        """Return how much the model's outputs move when a weight is scaled."""
        return gradient.scores(evidence)


CRITERIA: Mapping[str, type[Criterion]] = {
    "magnitude": Magnitude,
    "random": Random,
    "wanda": Wanda,
    "second-order": SecondOrder,
    "dsnot": DSnoT,
    "gradient": Gradient,
}


def criterion(name: str) -> Criterion:
    """Return the criterion of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in CRITERIA:
        raise UsageError(f"unknown criterion '{name}'", fix=hint(name, CRITERIA))
    return CRITERIA[name]()
