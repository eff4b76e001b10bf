"""Channels are ordered so that what is pruned together matters little together.

A block of 16x1 spans 16 neighbouring outputs: which are neighbours is up to us where nothing fixes
their order. For each set of channels that may change places, masks and places are improved in turn:
with the masks held, channels swap where that lets the masks keep more; then the masks follow. Both
steps only ever keep more, so the order that is found is never worse than the one that was there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError
from edgeseq.ir import channels, permute
from edgeseq.ir.channels import Channels
from edgeseq.ir.patterns import Blocks, Pattern
from edgeseq.ir.ties import FIXED
from edgeseq.train.evidence import Evidence, relative_errors
from edgeseq.train.prunable import Matrix
from edgeseq.train.pruning import Pruner

Array = npt.NDArray[Any]

_ROUNDS = 40
_USUAL = 0.25  # density for which to order where none is known yet
_EXACT = 1e-8  # relative squared error that the order of sums in float32 may make


@dataclasses.dataclass
class _Part:
    """One matrix to be pruned: its scores, in the order of now, and what lies where.

    Args:
        scores: Of each entry, their mean 1.
        pattern: How it is pruned.
        density: How much of it stays.
        taps: Of a convolution.
        rows: Channel that each row computes.
        columns: Channel that each column reads.
    """

    scores: Array
    pattern: Pattern
    density: float
    taps: int
    rows: Array
    columns: Array

    def mask(self) -> Array:
        """What the pattern keeps now."""
        return self.pattern.mask(self.scores, self.density, self.taps)

    def kept(self) -> float:
        """Scores of what is kept."""
        return float(self.scores[self.mask()].sum())

    def gain(self, places: tuple[Array, ...]) -> Array:
        """What the mask of now keeps of channel i (down) in the place of channel j (across)."""
        mask, rows, columns = self.mask().astype(self.scores.dtype), *places
        gain = np.zeros((len(rows), len(rows)))
        if _counts_rows(self.pattern):
            for one in rows.T:
                gain += self.scores[one] @ mask[one].T
        if _counts_columns(self.pattern):
            for one in columns.T:
                gain += self.scores[:, one].T @ mask[:, one]
        return gain

    def moved(self, places: tuple[Array, ...], taken: Array) -> _Part:
        """Channel `taken[i]` goes to the place of channel i."""
        scores, (rows, columns) = self.scores.copy(), places
        scores[rows] = self.scores[rows[taken]]
        before = scores.copy()
        scores[:, columns] = before[:, columns[taken]]
        return dataclasses.replace(self, scores=scores)


def rearrange(pruner: Pruner) -> tuple[str, ...]:
    """Order the channels of a model for the pattern that it is to be pruned to, in place.

    Orders by the scores and by their squares are tried; what lowers the error of the pruned model
    most is taken, or the order that was there. Scores and statistics of the pruner are of that old
    order afterwards: make another.

    Args:
        pruner: Holds the dense model, and samples.

    Returns:
        What the user should know.

    Raises:
        UsageError: the pattern has no groups of several channels.
    """
    if not any(_counts_rows(p) or _counts_columns(p) for p in pruner.patterns.values()):
        raise UsageError(
            f"--rearrange does nothing for the pattern {pruner.request.pattern}",
            why="its groups hold one channel each",
            fix="leave it out, or a pattern such as 16x1",
        )
    model, request = pruner.model, pruner.request
    if request.sparsity == 0:  # a budget finds its own
        request = dataclasses.replace(request, sparsity=1 - _USUAL)
    samples, dense = pruner.evidence.samples, pruner.evidence.dense_outputs

    def pruned() -> float:
        error = Pruner(model.clone(), request, samples).run().output_error
        assert error is not None
        return error

    found = channels.find(model)
    first = best = pruned()
    chosen: Array | None = None
    for power in (1, 2):
        order = _order(found, Pruner(model, request, samples), power)
        permute.permute(found, order)
        moved = relative_errors(dense, Evidence(model, [], samples).outputs())
        if max(moved.values(), default=0.0) > _EXACT:
            raise AssertionError(f"another order of channels changed what is computed: {moved}")
        if (error := pruned()) < best:
            best, chosen = error, order
        permute.permute(found, np.argsort(order))
    if chosen is None:
        return ("no other order of the channels was found that loses less",)
    states = permute.permute(found, chosen)
    changed = int((chosen != np.arange(len(chosen))).sum())
    note = f"{changed} channels have changed places: the error when pruned at once falls by "
    note += f"{10 * np.log10(first / max(best, 1e-30)):.1f} dB"
    return (note, *(f"the positions of state '{name}' have another order" for name in states))


def _order(found: Channels, pruner: Pruner, power: int) -> Array:
    """Return, for every channel, the one that is to take its place."""
    scores = pruner.scores()
    parts = _parts(found, pruner, scores, pruner.allocate(scores), power)
    order = np.arange(1 + max(int(n.max(initial=0)) for n in found.numbers.values()))
    for members in permute.exchangeable(found):
        order[members] = members[_ordered(parts, members)]
    return order


def _parts(
    found: Channels,
    pruner: Pruner,
    scores: Mapping[Matrix, Array],
    densities: Mapping[Matrix, float],
    power: int,
) -> list[_Part]:
    parts = []
    for matrix, pattern in pruner.patterns.items():
        own = np.where(np.isfinite(scores[matrix]), scores[matrix], 0.0).astype(np.float64) ** power
        rows, columns = lines(found, matrix)
        parts.append(
            _Part(
                (own / (own.mean() or 1.0)).astype(np.float32),
                *(pattern, densities[matrix], matrix.taps, rows, columns),
            )
        )
    return parts


def lines(found: Channels, matrix: Matrix) -> tuple[Array, Array]:
    """Return the channel that each row of a matrix computes, and that each column reads."""
    rows, columns = (np.full(n, FIXED) for n in matrix.shape)
    where = np.unravel_index(matrix.index, channels.data(matrix.weight).shape)
    for axis in dict.fromkeys((*found.writes, *found.reads)):
        if axis.value is not matrix.weight:
            continue
        place = where[axis.number]
        if (place == place[:, :1]).all():
            rows = found.numbers[axis][place[:, 0]]
        elif (place == place[:1]).all():
            columns = found.numbers[axis][place[0]]
    return rows, columns


def _ordered(parts: list[_Part], members: Array) -> Array:
    """Order one set of channels; return which takes the place of each, and move the scores."""
    touched = [
        (number, places)
        for number, part in enumerate(parts)
        if (places := _places(part, members)) is not None
    ]
    heard = [
        number
        for number, (rows, columns) in touched
        if (rows.size and _counts_rows(parts[number].pattern))
        or (columns.size and _counts_columns(parts[number].pattern))
    ]
    taken = np.arange(len(members))
    if not heard:
        return taken
    starts = [np.arange(len(members)), _by_weight([parts[n] for n, _ in touched], touched)]
    found = [_improved([parts[n] for n, _ in touched], [p for _, p in touched], s) for s in starts]
    best, kept, moved = max(found, key=lambda one: one[1])
    if kept <= sum(parts[n].kept() for n, _ in touched):
        return taken
    for (number, _), part in zip(touched, moved, strict=True):
        parts[number] = part
    return best


def _improved(
    parts: Sequence[_Part], places: Sequence[tuple[Array, ...]], start: Array
) -> tuple[Array, float, list[_Part]]:
    """Improve masks and places in turn from a start, until nothing more is kept."""
    order = start
    now = [p.moved(at, order) for p, at in zip(parts, places, strict=True)]
    kept = sum(part.kept() for part in now)
    for _ in range(_ROUNDS):
        gain = sum(
            (part.gain(at) for part, at in zip(now, places, strict=True)),
            np.zeros((len(order), len(order))),
        )
        taken = swapped(gain)
        moved = [p.moved(at, taken) for p, at in zip(now, places, strict=True)]
        more = sum(part.kept() for part in moved)
        if more <= kept * (1 + 1e-6):
            break
        order, now, kept = order[taken], moved, more
    return order, kept, now


def swapped(gain: Array) -> Array:
    """Exchange pairs while that raises the sum; return which channel is in each place."""
    order = np.arange(len(gain))
    least = 1e-6 * np.abs(gain).max(initial=0.0)  # beneath it is rounding
    while True:
        here = gain[order]  # of who is in place i, in place j
        own = np.diag(here)
        better = np.triu(here + here.T - own[:, None] - own[None, :], 1)
        best = np.argsort(better, axis=None)[::-1][: len(gain)]
        left, right = np.unravel_index(best[better.ravel()[best] > least], better.shape)
        if not len(left):
            return order
        free = np.ones(len(gain), np.bool_)
        for i, j in zip(left.tolist(), right.tolist(), strict=True):
            if free[i] and free[j]:  # pairs apart do not change what others gain
                order[[i, j]] = order[[j, i]]
                free[[i, j]] = False


def _by_weight(parts: Sequence[_Part], touched: Sequence[tuple[int, tuple[Array, ...]]]) -> Array:
    """Order channels by the scores of their rows: small ones are neighbours."""
    total = sum(
        part.scores[rows].sum(axis=(1, 2)) if rows.size else 0.0
        for part, (_, (rows, _)) in zip(parts, touched, strict=True)
    )
    return np.argsort(total, kind="stable") if np.ndim(total) else np.arange(len(touched[0][1][0]))


def _places(part: _Part, members: Array) -> tuple[Array, Array] | None:
    """Where each member lies: [member, copy] of rows and of columns; None: nowhere."""
    rows, columns = (_positions(line, members) for line in (part.rows, part.columns))
    return (rows, columns) if rows.size or columns.size else None


def _positions(line: Array, members: Array) -> Array:
    order = np.argsort(line, kind="stable")
    first, last = (np.searchsorted(line[order], members, side) for side in ("left", "right"))
    copies = last - first
    if not copies.any() or (copies != copies[0]).any():
        return np.zeros((len(members), 0), np.int64)
    found: Array = order[first[:, None] + np.arange(copies[0])]
    return found


def _counts_rows(pattern: Pattern) -> bool:
    """Whether it matters to a pattern which rows are neighbours."""
    return isinstance(pattern, Blocks) and pattern.rows > 1


def _counts_columns(pattern: Pattern) -> bool:
    """Whether it matters to a pattern which columns are neighbours."""
    return not isinstance(pattern, Blocks) or pattern.columns > 1
