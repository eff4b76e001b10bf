"""DSnoT mask repair: swap pruned and kept groups until each output's mean error is small.

With mu_i the sum of input i over a sample (mean over samples), group u contributes c_u = w_u mu_u
to its outputs; e, the sum of c over the pruned groups, is what the outputs miss. Each cycle and
panel (the rows of a block; one row for single entries)

    grow:  the pruned group with the largest (c_u . e / |e|) / variance_u
    prune: the kept group with the lowest score whose loss pushes e the other way, c_u . e < 0

and e becomes e - c_grown + c_pruned. A panel stops at |e| <= 0.1, after 50 cycles, or (unlike the
published code) when a swap would not make |e| smaller. N:M swaps within the M entries. Counts and
groups stay exact, weights are not changed. Source: arXiv 2310.08915.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.ir.patterns import Blocks, Mask, NOfM, Pattern
from edgeseq.train.prunable import Matrix
from edgeseq.train.statistics import Statistics, per_row

Array = npt.NDArray[Any]

SMALL_ERROR = 0.1
CYCLES = 50


def repair(
    matrix: Matrix, mask: Mask, scores: Array, pattern: Pattern, statistics: Statistics
) -> Mask:
    """Return a mask with the same counts and a smaller mean error of the layer's outputs."""
    mu = per_row(statistics.total / statistics.samples, matrix)
    variance = per_row(statistics.variance, matrix)
    parts = _Panels.of(matrix, pattern, matrix.get() * mu, variance, scores, mask)
    kept = parts.kept.copy()
    for panel in range(len(kept)):
        _repair(parts, panel, kept[panel])
    return parts.spread(kept)


@dataclasses.dataclass(frozen=True)
class _Panels:
    """A matrix as panels of groups: arrays are [panels, groups], `moves` [panels, rows, groups].

    `run` numbers the groups among which a swap must stay.
    """

    pattern: Pattern
    shape: tuple[int, int]
    taps: int
    moves: Array
    variance: Array
    scores: Array
    kept: Mask
    run: Array

    @staticmethod
    def of(
        matrix: Matrix, pattern: Pattern, moves: Array, variance: Array, scores: Array, mask: Mask
    ) -> _Panels:
        outputs, taps = matrix.shape[0], matrix.taps
        if isinstance(pattern, NOfM):
            inputs = matrix.shape[1] // taps
            across = -(-inputs // pattern.m)
            place = np.arange(matrix.shape[1])
            run = place // inputs * across + place % inputs // pattern.m
            return _Panels(pattern, matrix.shape, taps, moves[:, None], variance, scores, mask, run)
        assert isinstance(pattern, Blocks)
        thin = dataclasses.replace(pattern, rows=1)
        rows = pattern.rows or outputs
        each = thin.gather(moves, taps)
        padded = np.zeros((-(-outputs // rows) * rows, each.shape[1]))
        padded[:outputs] = each
        return _Panels(
            pattern,
            matrix.shape,
            taps,
            padded.reshape(-1, rows, each.shape[1]),
            pattern.gather(variance, taps),
            pattern.gather(scores, taps),
            pattern.gather(mask.astype(np.int64), taps) > 0,
            np.zeros(each.shape[1], np.int64),
        )

    def spread(self, kept: Mask) -> Mask:
        return self.pattern.spread(kept, self.shape, self.taps)


def _repair(parts: _Panels, panel: int, kept: Mask) -> None:
    moves, variance = parts.moves[panel], parts.variance[panel]
    order = np.argsort(parts.scores[panel], kind="stable")
    free = np.isfinite(parts.scores[panel])
    error = moves[:, ~kept].sum(axis=1)
    for _ in range(CYCLES):
        size = float(np.linalg.norm(error))
        if size <= SMALL_ERROR or kept.all():
            return
        along = error @ moves / size
        gain = np.where(kept, -np.inf, along / np.maximum(variance, 1e-12))
        grown = int(np.argmax(gain))
        if along[grown] <= 0:
            return
        swappable = kept & (along < 0) & (parts.run == parts.run[grown]) & free
        near = order[swappable[order]]
        if not len(near):
            return
        new = error - moves[:, grown] + moves[:, near[0]]
        if np.linalg.norm(new) >= size:
            return
        kept[grown], kept[near[0]] = True, False
        error = new
