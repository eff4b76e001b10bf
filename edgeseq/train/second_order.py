"""Second-order reconstruction: prune what the others can make up for, then let them do so.

With H = sum x x^T + damping, the layer's squared output error of replacing W by V is
tr((W - V) H (W - V)^T). On a support S (the columns a row keeps) the best weights are

    v_S = (w H)_S inv(H_SS)                        columns of S against columns of S

and removing column c of S costs v_c^2 / inv(H_SS)_cc more (optimal brain surgeon). SparseGPT prunes
column by column with updates to the right; here the support shrinks in rounds (`Pattern.ramp`) and
the exact optimum is solved after each, which is affordable for matrices of edge models: all rows
with the same support (the 16 of a block) share one inversion. A block's cost is the sum over its
entries: exact for one input wide blocks, else without the terms between its own columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.ir.patterns import Mask, Pattern
from edgeseq.train.prunable import Matrix
from edgeseq.train.statistics import Statistics

Array = npt.NDArray[Any]

DAMPING = 0.01  # of the mean of H's diagonal, as SparseGPT has it


def prune(
    matrix: Matrix, statistics: Statistics, pattern: Pattern, density: float, held: Mask
) -> tuple[Mask, Array]:
    """Return the mask and the re-fitted weights; entries `held` are kept whatever they cost."""
    dense = matrix.get()
    mask, weights = dense != 0, dense.astype(np.float64)
    mask[:] = True  # a zero of the dense matrix may well be used by the fit
    for step, share in pattern.ramp(density):
        costs = _costs(matrix, weights, statistics, mask)
        # What has gone stays gone: its cost is below all others, in the order it had.
        scores = np.where(held, np.inf, np.where(mask, costs, -1.0))
        mask = step.mask(scores, share, matrix.taps) & mask
        weights = refit(matrix, dense, statistics, mask)
    return mask, weights.astype(dense.dtype)


def refit(matrix: Matrix, dense: Array, statistics: Statistics, mask: Mask) -> Array:
    """Return the weights on this mask that come closest to the dense layer's outputs."""
    fitted = np.zeros(dense.shape)
    for h, rows, kept in _supports(matrix, statistics, mask):
        if len(kept):
            want = dense[rows].astype(np.float64) @ h[:, kept]
            solved = np.linalg.solve(h[np.ix_(kept, kept)], want.T).T
            fitted[np.ix_(rows, kept)] = solved
    return fitted


def saliency(matrix: Matrix, statistics: Statistics) -> Array:
    """Return what removing each single weight costs, of the layer's whole output 1."""
    everything = np.ones(matrix.shape, np.bool_)
    costs = _costs(matrix, matrix.get().astype(np.float64), statistics, everything)
    return costs / (statistics.error(matrix.get()) or 1)


def _costs(matrix: Matrix, weights: Array, statistics: Statistics, mask: Mask) -> Array:
    costs = np.zeros(weights.shape)
    for h, rows, kept in _supports(matrix, statistics, mask):
        if len(kept):
            inverse = np.diagonal(np.linalg.inv(h[np.ix_(kept, kept)]))
            costs[np.ix_(rows, kept)] = weights[np.ix_(rows, kept)] ** 2 / inverse
    return costs


def _supports(
    matrix: Matrix, statistics: Statistics, mask: Mask
) -> Iterator[tuple[Array, Array, Array]]:
    """Yield (H, rows, the columns these rows keep) for every distinct support."""
    for group, rows in enumerate(np.split(np.arange(len(mask)), matrix.groups)):
        h = statistics.gram[group].copy()
        diagonal = np.einsum("ii->i", h)
        # An input that never moves has no curvature: the damping alone keeps H invertible.
        diagonal += DAMPING * (diagonal.mean() or 1.0)
        packed = np.packbits(mask[rows], axis=1)
        _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        for support, row in enumerate(first):
            same = rows[which.reshape(-1) == support]
            yield h, same, np.flatnonzero(mask[rows[row]])
