"""Which weights stay, as a function of how far the pruning has come."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeseq.ir.patterns import Pattern

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_LEAST = 0.1  # of its own density stays in every matrix, whatever the others are worth


class Target(Protocol):
    """Chooses masks in the shapes of the initializers they belong to."""

    @property
    def names(self) -> frozenset[str]:
        """The initializers."""

    def masks(
        self, weights: Mapping[str, Array], progress: float, effects: Mapping[str, Array] | None
    ) -> dict[str, Mask]:
        """Return what stays.

        Args:
            weights: As they are now.
            progress: From 0 (dense) to 1 (as asked).
            effects: `[draws, *shape]`: what each weight adds to a random sum of the outputs;
                None where nothing is known of the outputs.
        """


def cubic(progress: float, initial: float, final: float) -> float:
    """Return the sparsity: fast at first, where pruning is harmless, then ever slower.

    s = final + (initial - final) (1 - progress)^3, of gradual pruning (arXiv 1710.01878).
    """
    left = 1 - min(max(progress, 0.0), 1.0)
    return final + (initial - final) * left**3


@dataclasses.dataclass(frozen=True)
class Fixed:
    """Masks that are given: all zeros are there from the start."""

    given: Mapping[str, Mask]

    @property
    def names(self) -> frozenset[str]:
        """The initializers."""
        return frozenset(self.given)

    def masks(
        self, weights: Mapping[str, Array], progress: float, effects: Mapping[str, Array] | None
    ) -> dict[str, Mask]:
        """Return the masks."""
        del weights, progress, effects
        return dict(self.given)


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A matrix to prune.

    Args:
        weight: The initializer.
        index: Where entry [output, input] lies in it, flat.
        pattern: How its zeros are arranged.
        density: The share that stays.
        taps: Runs of inputs in a row (the cells of a kernel).
    """

    weight: str
    index: npt.NDArray[np.int64]
    pattern: Pattern
    density: float
    taps: int = 1


@dataclasses.dataclass(frozen=True)
class Gradual:
    """Pruning in rounds: more and more groups fall, by what they are worth in the round.

    Blocks fall along the cubic schedule; N:M goes down one entry of every M after the other. A
    group is worth the expected squared change of the outputs when it is zeroed, to first order:
    the mean over the draws of the square of its summed effects. Its magnitude where there are no
    effects.

    Args:
        parts: The matrices.
        share: Let the matrices share one budget, so that blocks fall where they matter least;
            else each keeps its own density.
    """

    parts: Sequence[Part]
    share: bool = True

    @property
    def names(self) -> frozenset[str]:
        """The initializers."""
        return frozenset(part.weight for part in self.parts)

    def masks(
        self, weights: Mapping[str, Array], progress: float, effects: Mapping[str, Array] | None
    ) -> dict[str, Mask]:
        """Return the masks of this round."""
        masks = {name: np.ones(weights[name].shape, np.bool_) for name in self.names}
        worth = [_worth(part, weights, effects) for part in self.parts]
        apart = list(range(len(self.parts)))
        if self.share and effects is not None:  # magnitudes of two layers do not compare
            shared = [i for i in apart if self.parts[i].pattern.fixed_density is None]
            apart = [i for i in apart if i not in shared]
            chosen = _together([(self.parts[i], worth[i]) for i in shared], progress)
            for i, kept in zip(shared, chosen, strict=True):
                masks[self.parts[i].weight].reshape(-1)[self.parts[i].index] = kept
        for i in apart:
            part = self.parts[i]
            if part.pattern.fixed_density is None:
                (kept,) = _together([(part, worth[i])], progress)
            else:  # every entry is a group of its own
                pattern, density = _at(part, progress)
                kept = pattern.mask(worth[i], density, part.taps)
            masks[part.weight].reshape(-1)[part.index] = kept
        return masks


def _worth(part: Part, weights: Mapping[str, Array], effects: Mapping[str, Array] | None) -> Array:
    """Return the worth of each group of a matrix."""
    if effects is None:
        squares = np.square(weights[part.weight].reshape(-1)[part.index].astype(np.float64))
        return part.pattern.gather(squares, part.taps)
    draws = [
        part.pattern.gather(draw.reshape(-1)[part.index].astype(np.float64), part.taps)
        for draw in effects[part.weight]
    ]
    worth: Array = np.mean(np.square(draws), axis=0)
    return worth


def _together(parts: Sequence[tuple[Part, Array]], progress: float) -> list[Mask]:
    """Prune the groups of least worth for their size, wherever they are.

    No matrix falls below a share of its density: one that is nearly gone passes no gradients, then
    nothing before it seems to be worth anything, and whole layers would go.
    """
    if not parts:
        return []
    sizes = [_sizes(part, worth) for part, worth in parts]
    total = sum(size.sum() for size in sizes)
    left = sum(part.density * size.sum() for (part, _), size in zip(parts, sizes, strict=True))
    gone = cubic(progress, 0.0, 1 - left / total) * total
    worths = [_guarded(worth.reshape(-1), _LEAST * part.density) for part, worth in parts]
    flat = np.concatenate(worths)
    size = np.concatenate([s.reshape(-1) for s in sizes])
    order = np.argsort(flat / size, kind="stable")
    fallen = np.cumsum(size[order]) <= gone + 1e-6 * total
    kept = np.ones(flat.shape, np.bool_)
    kept[order[fallen]] = False
    masks = []
    place = 0
    for part, worth in parts:
        own = kept[place : place + worth.size].reshape(worth.shape)
        shape = (part.index.shape[0], part.index.shape[1])
        masks.append(part.pattern.spread(own, shape, part.taps))
        place += worth.size
    return masks


def _guarded(worth: Array, share: float) -> Array:
    """Return the worth of groups, without end for the best share of them."""
    guarded = worth.copy()
    count = math.ceil(share * worth.size)
    guarded[np.argsort(worth, kind="stable")[worth.size - count :]] = np.inf
    return guarded


def _sizes(part: Part, worth: Array) -> Array:
    ones = np.ones((part.index.shape[0], part.index.shape[1]))
    sizes: Array = part.pattern.gather(ones, part.taps).reshape(worth.shape)
    return sizes


def _at(part: Part, progress: float) -> tuple[Pattern, float]:
    """Return the stage of N:M: the cubic law, rounded to the next stage that is not sparser."""
    wanted = 1 - cubic(progress, 0.0, 1 - (part.pattern.fixed_density or 0))
    stages = list(part.pattern.ramp(part.density))
    fits = [stage for stage in stages if (stage[0].fixed_density or 0) >= wanted - 1e-9]
    return fits[-1] if fits else (part.pattern, 1.0)
