"""Collects which positions of axes belong together, and solves for the connected sets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[Any]

FIXED = 0  # the number of what must stay


@dataclasses.dataclass(frozen=True)
class Axis:
    """Axis `number` of a value, counted from the front."""

    value: ir.Value
    number: int


class Ties:
    """Pairs of positions that belong together; axes without a constant size take no part."""

    def __init__(self) -> None:
        self.writes: list[Axis] = []
        self.reads: list[Axis] = []
        self.mixers: set[ir.Node] = set()  # nodes that fix what goes through them
        self._first: dict[Axis, int] = {}
        self._count = 1
        self._pairs: list[tuple[Array, Array]] = []
        self._folds: list[tuple[Axis, tuple[Axis, ...]]] = []

    def positions(self, value: ir.Value, number: int) -> Array | None:
        """Return the identities of the positions of an axis; None where its size varies."""
        assert value.shape is not None
        size = value.shape[number]
        if not isinstance(size, int):
            return None
        axis = Axis(value, number % len(value.shape))
        if axis not in self._first:
            self._first[axis] = self._count
            self._count += size
        return np.arange(self._first[axis], self._first[axis] + size)

    def tie(self, left: Array | None, right: Array | None) -> None:
        """Let positions belong together, one by one; None is an axis that takes no part."""
        if left is None or right is None:
            for one in (left, right):
                if one is not None:
                    self.tie(one, np.zeros_like(one))
            return
        self._pairs.append((left, right))

    def same(self, left: ir.Value, right: ir.Value) -> None:
        """Tie two values of one shape, axis by axis."""
        for number in range(rank(left)):
            self.tie(self.positions(left, number), self.positions(right, number))

    def fix(self, value: ir.Value | None, numbers: Sequence[int] | None = None) -> None:
        """Let axes of a value stay as they are; None: all of them."""
        if value is None or value.shape is None:
            return
        for number in range(rank(value)) if numbers is None else numbers:
            self.tie(self.positions(value, number), None)

    def folded(self, flat: Axis, parts: Sequence[Axis]) -> None:
        """Note that an axis is several others, read row by row: one of those may be cut."""
        self._folds.append((flat, tuple(parts)))

    def fold(self, numbers: Mapping[Axis, Array]) -> None:
        """Tie each folded axis to the outermost of its parts that is not fixed anyway."""
        for flat, parts in self._folds:
            sizes = [_size(part) for part in parts]
            free = [i for i, part in enumerate(parts) if numbers[part].any()]
            chosen = free[0] if free and numbers[flat].any() else None
            for i, part in enumerate(parts):
                positions = self.positions(part.value, part.number)
                if i != chosen or positions is None:
                    self.tie(positions, None)
                    continue
                place = np.arange(_size(flat)) // math.prod(sizes[i + 1 :]) % sizes[i]
                self.tie(self.positions(flat.value, flat.number), positions[place])
            if chosen is None:
                self.fix(flat.value, [flat.number])
        self._folds.clear()

    def solve(self) -> dict[Axis, Array]:
        """Return, for the positions of each axis, the number of the set they belong to."""
        numbers = _components(self._count, self._pairs)
        return {a: numbers[first : first + _size(a)] for a, first in self._first.items()}


def rank(value: ir.Value) -> int:
    """Return the number of axes."""
    return len(value.shape) if value.shape is not None else 0


def _size(axis: Axis) -> int:
    assert axis.value.shape is not None
    return int(axis.value.shape[axis.number])


def _components(count: int, pairs: Sequence[tuple[Array, Array]]) -> Array:
    """Number connected sets by their least member: roots hook on smaller ones, paths shorten."""
    number = np.arange(count)
    left, right = (np.concatenate([[0], *(p[i] for p in pairs)]).astype(int) for i in (0, 1))
    while not np.array_equal(number[left], number[right]):
        low = np.minimum(number[left], number[right])
        np.minimum.at(number, number[left], low)
        np.minimum.at(number, number[right], low)
        while not np.array_equal(number, shorter := number[number]):
            number = shorter
    return number
