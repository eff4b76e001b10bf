"""Tells transforms that were computed, not learnt, from weights.

By default they stay dense, and their inputs float.

A Fourier matrix has windowed sinusoids as rows or columns: nearly all of the energy of each lies in
a few neighbouring frequencies. A mel matrix has rows that are zero except for one short run of
positive numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BANDS = "a bank of band filters"

_LEAST = 32  # entries of a row: shorter ones look like sinusoids by chance
_LINES = 7  # neighbouring frequencies that a window spreads a sinusoid over
_ENERGY = 0.98
_SHARE = 0.9  # of the rows
_MEL_DENSITY = 0.25


def kind(weights: Array) -> str | None:
    """Return what a matrix [outputs, inputs] is, or None where it looks learnt."""
    if min(weights.shape) < 8 or not np.isfinite(weights).all():
        return None
    if _sinusoids(weights) or _sinusoids(weights.T):
        return "a Fourier transform"
    if _bands(weights) or _bands(weights.T):
        return BANDS
    return None


def _sinusoids(rows: Array) -> bool:
    if rows.shape[1] < _LEAST:
        return False
    energy = np.abs(np.fft.rfft(rows.astype(np.float64), axis=1)) ** 2
    total = energy.sum(axis=1)
    used = total > 1e-9 * max(float(total.max()), 1e-30)
    runs = np.cumsum(np.pad(energy, ((0, 0), (1, _LINES))), axis=1)
    best = (runs[:, _LINES:] - runs[:, :-_LINES]).max(axis=1)
    return bool(used.any() and (best[used] > _ENERGY * total[used]).mean() >= _SHARE)


def _bands(rows: Array) -> bool:
    """Rows of one run of positive numbers each, whose places ascend."""
    if rows.shape[1] < _LEAST or (rows < 0).any():
        return False
    live = rows > 0
    if not live.any() or live.mean() > _MEL_DENSITY:
        return False
    used = live[live.any(axis=1)]
    first = used.argmax(axis=1)
    last = used.shape[1] - 1 - used[:, ::-1].argmax(axis=1)
    whole = (last - first + 1 == used.sum(axis=1)).mean() >= _SHARE
    return bool(whole and (np.diff(first) >= 0).all() and (np.diff(last) >= 0).all())
