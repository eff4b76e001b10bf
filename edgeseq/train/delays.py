"""What a step model reads of its states, followed back to where the step before wrote it.

    state' = Concat(h1', h2');  h1 = Slice(state);  h1' = GRU(x, h1)   ->   h1 = h1' one step ago

Models pack, reshape and slice their states. Seen element by element these are moves, so each
element that is read can be followed through the moves to the value that made it. Afterwards a
recurrence goes through the nodes that compute it and through nothing else: all else can run for
many steps at once.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from edgeseq.interp.program import Program, Step

Indices = npt.NDArray[np.int64]

_MOVES = frozenset(
    "Concat Flatten Gather Identity Reshape Slice Split Squeeze Transpose Unsqueeze".split()
)


@dataclasses.dataclass(frozen=True)
class Delay:
    """A value that holds nothing but what was computed one step ago.

    Args:
        value: The value.
        start: Its elements before the first step, in the states laid end to end.
        sources: Where its elements were computed, a step ago.
        index: Its elements in the sources laid end to end.
    """

    value: ir.Value
    start: Indices
    sources: tuple[ir.Value, ...]
    index: Indices


class Elements:
    """Numbers the elements of values; a move keeps the numbers of what it moves.

    Args:
        program: The steps.
        states: The state inputs: their elements have the first numbers.
        constant: Returns the tensor of a constant, None for anything else.
    """

    def __init__(
        self,
        program: Program,
        states: Sequence[ir.Value],
        constant: Callable[[ir.Value], torch.Tensor | None],
    ) -> None:
        self._makers = {value: step for step in program.steps for value in step.outputs}
        self._constant = constant
        self._numbers: dict[ir.Value, torch.Tensor | None] = {}
        self._first: list[int] = []
        self._owners: list[ir.Value] = []
        self._count = 0
        for state in states:
            self._numbers[state] = self._new(state)
        self.in_states = self._count

    def of(self, value: ir.Value) -> Indices | None:
        """Return the numbers of a value's elements; None when its shape is not known."""
        if value not in self._numbers:
            moved = self._move(value)
            self._numbers[value] = self._new(value) if moved is None else moved
        found = self._numbers[value]
        return None if found is None else found.numpy()

    def owner(self, number: int) -> tuple[ir.Value, int]:
        """Return the value an element was made in, and the first number of that value."""
        place = bisect.bisect_right(self._first, number) - 1
        return self._owners[place], self._first[place]

    def _new(self, value: ir.Value) -> torch.Tensor | None:
        constant = self._constant(value)
        shape = _shape(value) if constant is None else tuple(constant.shape)
        if shape is None:
            return None
        self._first.append(self._count)
        self._owners.append(value)
        self._count += math.prod(shape)
        return torch.arange(self._first[-1], self._count).reshape(shape)

    def _move(self, value: ir.Value) -> torch.Tensor | None:
        step = self._makers.get(value)
        if step is None or step.op is None or step.call.op not in _MOVES:
            return None
        moved = len(step.inputs) if step.call.op == "Concat" else 1
        inputs: list[Any] = []
        for i, given in enumerate(step.inputs):
            tensor = None if given is None else self._constant(given)
            if given is not None and i < moved:
                self.of(given)
                tensor = self._numbers[given]
            if given is not None and tensor is None:
                return None
            inputs.append(tensor)
        made = step.op(step.call, *inputs)
        outputs = (made,) if isinstance(made, torch.Tensor) else made
        return outputs[step.outputs.index(value)]


def find(program: Program, pairs: dict[ir.Value, ir.Value], elements: Elements) -> list[Delay]:
    """Return a delay for each value that only moves elements of states.

    Args:
        program: The steps.
        pairs: State input -> the output it takes its next value from.
        elements: Of this program, with the inputs of `pairs` as its states.
    """
    after = _after(pairs, elements)
    values = [*pairs, *(value for step in program.steps for value in step.outputs)]
    delays = []
    for value in values:
        numbers = elements.of(value) if value.name else None
        if numbers is not None and numbers.size and numbers.max() < elements.in_states:
            delays.append(_delay(value, numbers.reshape(-1), after, elements))
    return delays


def _after(pairs: dict[ir.Value, ir.Value], elements: Elements) -> Indices:
    """Return, for each element of the states, the element that replaces it after a step."""
    parts = []
    for state, output in pairs.items():
        numbers = elements.of(output)
        assert numbers is not None, f"the shape of state '{state.name}' is not known"
        parts.append(numbers.reshape(-1))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _delay(value: ir.Value, start: Indices, after: Indices, elements: Elements) -> Delay:
    replaced = after[start]
    sources: dict[ir.Value, int] = {}
    index = np.empty_like(replaced)
    size = 0
    for place, number in enumerate(replaced.tolist()):
        owner, first = elements.owner(number)
        if number < elements.in_states:  # passed on from an earlier step: an element of a state
            hits = np.flatnonzero(start == number)
            owner, offset = (value, int(hits[0])) if len(hits) else (owner, number - first)
        else:
            offset = number - first
        if owner not in sources:
            sources[owner] = size
            size += len(start) if owner is value else _size(owner, elements)
        index[place] = sources[owner] + offset
    return Delay(value, start, tuple(sources), index)


def _size(value: ir.Value, elements: Elements) -> int:
    numbers = elements.of(value)
    assert numbers is not None
    return numbers.size


def _shape(value: ir.Value) -> tuple[int, ...] | None:
    if value.shape is None or not all(isinstance(dim, int) for dim in value.shape):
        return None
    return tuple(int(dim) for dim in value.shape)


def recurrent(step: Step) -> bool:
    """Whether a step is one of ONNX's recurrent operators."""
    return step.op is not None and step.call.op in ("RNN", "GRU", "LSTM")
