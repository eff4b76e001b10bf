"""Which weights stay, as a function of how far the pruning has come."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeseq.ir.patterns import Pattern

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class Target(Protocol):
    """Chooses masks in the shapes of the initializers they belong to."""

    @property
    def names(self) -> frozenset[str]:
        """The initializers."""

    def masks(self, weights: Mapping[str, Array], progress: float) -> dict[str, Mask]:
        """Return what stays of these weights; `progress` runs from 0 (dense) to 1 (as asked)."""


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

    def masks(self, weights: Mapping[str, Array], progress: float) -> dict[str, Mask]:
        """Return the masks."""
        del weights, progress
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
        importance: A factor to |w| `[outputs, inputs]`, or None.
    """

    weight: str
    index: npt.NDArray[np.int64]
    pattern: Pattern
    density: float
    taps: int = 1
    importance: Array | None = None


@dataclasses.dataclass(frozen=True)
class Gradual:
    """Magnitude pruning in rounds: more and more groups fall, by the weights as they then are.

    Blocks fall along the cubic schedule; N:M goes down one entry of every M after the other.
    """

    parts: Sequence[Part]

    @property
    def names(self) -> frozenset[str]:
        """The initializers."""
        return frozenset(part.weight for part in self.parts)

    def masks(self, weights: Mapping[str, Array], progress: float) -> dict[str, Mask]:
        """Return the masks of this round."""
        masks = {name: np.ones(weights[name].shape, np.bool_) for name in self.names}
        for part in self.parts:
            scores = np.square(weights[part.weight].reshape(-1)[part.index].astype(np.float64))
            if part.importance is not None:
                scores *= np.square(part.importance)
            pattern, density = _at(part, progress)
            masks[part.weight].reshape(-1)[part.index] = pattern.mask(scores, density, part.taps)
        return masks


def _at(part: Part, progress: float) -> tuple[Pattern, float]:
    fixed = part.pattern.fixed_density
    if fixed is None:
        return part.pattern, 1 - cubic(progress, 0.0, 1 - part.density)
    stages = list(part.pattern.ramp(part.density))
    # The same cubic law, rounded to the next stage that is not sparser.
    wanted = 1 - cubic(progress, 0.0, 1 - fixed)
    fits = [s for s in stages if (s[0].fixed_density or 0) >= wanted - 1e-9]
    return fits[-1] if fits else (part.pattern, 1.0)
