"""Which entries of a weight matrix live and die together, and how many groups survive.

A matrix is always [outputs, inputs] of the linear map, whatever the operator stores. The columns of
a convolution are tap-major (column = tap * inputs + input), so that neighbouring columns are
neighbouring input channels of one tap, as in channel-last memory.

| text | groups | scope |
|---|---|---|
| `unstructured` | single entries | the matrix |
| `RxC` | R outputs x C inputs of one tap, the last block may be cut off by the edge | the matrix |
| `N:M` | single entries, N of every M consecutive inputs of a row | the M entries |
| `kernel`, `kernel-P` | P outputs x 1 input x all taps of a convolution | the matrix |
| `rows`, `rows-P` | P outputs x all inputs | the matrix |
| `columns`, `columns-P` | all outputs x P inputs, all taps | the matrix |
"""

from __future__ import annotations

import abc
import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

LARGEST_M = 16
_ALL = 0  # in Blocks: this side spans the matrix
_KNOWN = "unstructured, RxC (16x1), N:M (2:4), kernel[-P], rows[-P], columns[-P]"


class Pattern(abc.ABC):
    """How the zeros of a [outputs, inputs] matrix are arranged. Equal patterns have equal text."""

    @staticmethod
    def parse(text: str) -> Pattern:
        """Return the pattern of this name.

        Raises:
            UsageError: There is no such pattern.
        """
        if text == "unstructured":
            return Blocks(1, 1)
        if found := re.fullmatch(r"(\d+)x(\d+)", text):
            rows, columns = (int(side) for side in found.groups())
            if rows and columns:
                return Blocks(rows, columns)
        if found := re.fullmatch(r"(\d+):(\d+)", text):
            return _n_of_m(text, *(int(part) for part in found.groups()))
        if found := re.fullmatch(r"(kernel|rows|columns)(?:-(\d+))?", text):
            size = int(found[2] or 1)
            if size:
                return _NAMED[found[1]](size)
        raise UsageError(f"no sparsity pattern {text!r}", fix=f"known: {_KNOWN}")

    @property
    @abc.abstractmethod
    def text(self) -> str:
        """The name that `parse` reads."""

    @property
    def fixed_density(self) -> float | None:
        """The density that the pattern itself prescribes, if it does."""
        return None

    @abc.abstractmethod
    def groups(self, shape: tuple[int, int], taps: int = 1) -> tuple[int, int]:
        """Return how many groups a matrix has, over outputs and over inputs."""

    @abc.abstractmethod
    def gather(self, scores: Array, taps: int = 1) -> Array:
        """Sum the scores of each group: [outputs, inputs] -> `groups(...)`."""

    @abc.abstractmethod
    def spread(self, chosen: Mask, shape: tuple[int, int], taps: int = 1) -> Mask:
        """Give every entry the choice made for its group: `groups(...)` -> [outputs, inputs]."""

    @abc.abstractmethod
    def mask(self, scores: Array, density: float, taps: int = 1) -> Mask:
        """Keep the groups with the highest scores; True is kept.

        `n` groups at density `d` keep `n - floor((1 - d) n)`. Among equal scores the earlier group
        is pruned first. A density of 1 keeps everything; a pattern with a `fixed_density` takes its
        own otherwise.
        """

    @abc.abstractmethod
    def ramp(self, density: float) -> Iterator[tuple[Pattern, float]]:
        """Yield ever sparser (pattern, density) that end with this one, for pruning in rounds."""

    @abc.abstractmethod
    def stored(self, weights: Array, taps: int = 1) -> float:
        """Return the share of entries a packed matrix stores; 1 where the pattern is violated."""

    @abc.abstractmethod
    def misfit(self, shape: tuple[int, int], taps: int = 1) -> str | None:
        """Say which side the groups do not divide, so that packing pads it with zeros."""

    def __str__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Blocks(Pattern):
    """Blocks of `rows` outputs x `columns` inputs of one tap or all taps; a side of 0 spans all."""

    rows: int
    columns: int
    all_taps: bool = False

    @property
    def text(self) -> str:
        """`16x1`, `unstructured`, `kernel-4`, `rows`, `columns`."""
        if not self.all_taps:
            single = self.rows == self.columns == 1
            return "unstructured" if single else f"{self.rows}x{self.columns}"
        if self.columns == _ALL:
            name, size = "rows", self.rows
        elif self.rows == _ALL:
            name, size = "columns", self.columns
        else:
            name, size = "kernel", self.rows
        return name if size == 1 else f"{name}-{size}"

    def _block(self, shape: tuple[int, int], taps: int) -> tuple[int, int]:
        return self.rows or shape[0], self.columns or shape[1] // taps

    def groups(self, shape: tuple[int, int], taps: int = 1) -> tuple[int, int]:
        """Return the size of the grid of blocks."""
        rows, columns = self._block(shape, taps)
        across = math.ceil(shape[1] // taps / columns)
        return math.ceil(shape[0] / rows), across if self.all_taps else across * taps

    def gather(self, scores: Array, taps: int = 1) -> Array:
        """Sum the scores of each block."""
        shape = _matrix(scores, taps)
        rows, columns = self._block(shape, taps)
        inputs = shape[1] // taps
        down, across = math.ceil(shape[0] / rows), math.ceil(inputs / columns)
        padded = np.zeros((down * rows, taps, across * columns), scores.dtype)
        padded[: shape[0], :, :inputs] = scores.reshape(shape[0], taps, inputs)
        sums: Array = padded.reshape(down, rows, taps, across, columns).sum(axis=(1, 4))
        return sums.sum(axis=1) if self.all_taps else sums.reshape(down, taps * across)

    def spread(self, chosen: Mask, shape: tuple[int, int], taps: int = 1) -> Mask:
        """Give every entry the choice of its block."""
        rows, columns = self._block(shape, taps)
        inputs = shape[1] // taps
        grid = chosen.reshape(chosen.shape[0], 1 if self.all_taps else taps, -1)
        grid = np.broadcast_to(grid, (grid.shape[0], taps, grid.shape[2]))
        full = grid.repeat(rows, axis=0)[: shape[0]].repeat(columns, axis=2)[:, :, :inputs]
        return np.ascontiguousarray(full.reshape(shape))

    def mask(self, scores: Array, density: float, taps: int = 1) -> Mask:
        """Keep the blocks with the highest sums."""
        sums = self.gather(scores, taps)
        pruned = pruned_groups(sums.size, density)
        chosen = np.ones(sums.size, np.bool_)
        chosen[np.argsort(sums, axis=None, kind="stable")[:pruned]] = False
        return self.spread(chosen.reshape(sums.shape), _matrix(scores, taps), taps)

    def ramp(self, density: float) -> Iterator[tuple[Pattern, float]]:
        """Yield densities that fall by a quarter of what is left, then `density`."""
        step = 0.75
        while step > density * 1.1:
            yield self, step
            step *= 0.75
        yield self, density

    def stored(self, weights: Array, taps: int = 1) -> float:
        """Return the share of the entries that lie in blocks with a non-zero."""
        kept = self.gather((weights != 0).astype(np.int64), taps) > 0
        return float(self.spread(kept, _matrix(weights, taps), taps).mean())

    def misfit(self, shape: tuple[int, int], taps: int = 1) -> str | None:
        """Say which side the blocks do not divide: packing pads it with zeros."""
        rows, columns = self._block(shape, taps)
        inputs = shape[1] // taps
        odd = []
        if shape[0] % rows:
            odd.append(f"{shape[0]} outputs are padded to {math.ceil(shape[0] / rows) * rows}")
        if inputs % columns:
            odd.append(f"{inputs} inputs are padded to {math.ceil(inputs / columns) * columns}")
        return ", ".join(odd) or None


@dataclasses.dataclass(frozen=True)
class NOfM(Pattern):
    """`n` of every `m` consecutive inputs of a row and tap; a cut-off group keeps at most `n`."""

    n: int
    m: int

    @property
    def text(self) -> str:
        """`2:4`."""
        return f"{self.n}:{self.m}"

    @property
    def fixed_density(self) -> float:
        """`n / m`."""
        return self.n / self.m

    def groups(self, shape: tuple[int, int], taps: int = 1) -> tuple[int, int]:
        """Every entry is a group of its own."""
        del taps
        return shape

    def gather(self, scores: Array, taps: int = 1) -> Array:
        """Every entry is a group of its own."""
        _matrix(scores, taps)
        return scores

    def spread(self, chosen: Mask, shape: tuple[int, int], taps: int = 1) -> Mask:
        """Every entry is a group of its own."""
        del shape, taps
        return chosen

    def mask(self, scores: Array, density: float, taps: int = 1) -> Mask:
        """Keep the `n` highest of every `m`, or everything at density 1."""
        shape = _matrix(scores, taps)
        pruned_groups(1, density)
        if density == 1:
            return np.ones(shape, np.bool_)
        # Padding scores below everything, so that a cut-off group keeps its own entries first.
        runs = self._runs(scores, taps, -np.inf)
        order = np.argsort(runs, axis=-1, kind="stable")
        kept = np.ones(runs.shape, np.bool_)
        np.put_along_axis(kept, order[..., : self.m - self.n], False, axis=-1)
        inputs = shape[1] // taps
        return kept.reshape(shape[0], taps, -1)[:, :, :inputs].reshape(shape)

    def ramp(self, density: float) -> Iterator[tuple[Pattern, float]]:
        """Yield m-1:m, m-2:m, ..., n:m."""
        for n in range(self.m - 1, self.n - 1, -1):
            yield NOfM(n, self.m), density

    def stored(self, weights: Array, taps: int = 1) -> float:
        """Return `n / m` if no group has more than `n` non-zeros."""
        runs = self._runs((weights != 0).astype(np.float64), taps, 0.0)
        return self.fixed_density if runs.sum(axis=-1).max(initial=0) <= self.n else 1.0

    def misfit(self, shape: tuple[int, int], taps: int = 1) -> str | None:
        """Say so if the last group of a row is cut off: packing pads it with zeros."""
        inputs = shape[1] // taps
        padded = math.ceil(inputs / self.m) * self.m
        return None if padded == inputs else f"{inputs} inputs are padded to {padded}"

    def _runs(self, array: Array, taps: int, padding: float) -> Array:
        """[outputs, taps * inputs] -> [outputs, taps, groups, m]."""
        inputs = array.shape[1] // taps
        across = math.ceil(inputs / self.m)
        padded = np.full((array.shape[0], taps, across * self.m), padding, np.float64)
        padded[:, :, :inputs] = array.reshape(array.shape[0], taps, inputs)
        return padded.reshape(array.shape[0], taps, across, self.m)


def pruned_groups(groups: int, density: float) -> int:
    """Return floor((1 - density) * groups), safe against rounding.

    Raises:
        UsageError: The density is outside (0, 1].
    """
    if not 0 < density <= 1:
        raise UsageError(
            f"density {density:g} is outside (0, 1]",
            why="a density is the share of weights that stay; sparsity is 1 - density",
        )
    return math.floor((1 - density) * groups + 1e-6)


def detect(weights: Array, taps: int = 1) -> tuple[Pattern, float]:
    """Return the coarsest usual pattern the zeros follow, and what it stores.

    Coarse is what is cheap to run: a pattern wins over an earlier one of the list only if it stores
    clearly less (a tenth). A matrix without zeros is `unstructured`, 1.
    """
    best, density = Pattern.parse("unstructured"), Blocks(1, 1).stored(weights, taps)
    if density == 1:
        return best, 1.0
    for text in _USUAL:
        pattern = Pattern.parse(text)
        stored = pattern.stored(weights, taps)
        if stored <= min(1.1 * density, 1 - 1e-9):
            return pattern, stored
    return best, density


_USUAL = ("16x4", "16x1", "8x4", "8x1", "4x4", "4x1", "1:4", "2:4", "4:8", "1x4")
_NAMED = {
    "kernel": lambda size: Blocks(size, 1, True),
    "rows": lambda size: Blocks(size, _ALL, True),
    "columns": lambda size: Blocks(_ALL, size, True),
}


def _n_of_m(text: str, n: int, m: int) -> NOfM:
    if not 0 < n < m <= LARGEST_M:
        raise UsageError(
            f"pattern {text!r} is out of range", why=f"N:M needs 0 < N < M <= {LARGEST_M}"
        )
    return NOfM(n, m)


def _matrix(array: Array, taps: int) -> tuple[int, int]:
    """Return the shape of a matrix whose columns are `taps` runs of inputs."""
    if array.ndim != 2 or array.shape[1] % taps:
        raise ValueError(f"{array.shape} is not [outputs, {taps} * inputs]")
    return array.shape[0], array.shape[1]
