"""The PyTorch side: the module as it is, one thread, states fed back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from edgeseq.bench import harness, memory
from edgeseq.bench.frames import Frames
from edgeseq.bench.harness import Array


class Eager:
    """A module called as it was when it was exported.

    Args:
        module: In any mode; it is timed in eval mode.
        example: What it was exported with: says which input goes where.
        inputs: Names in the exported model's order.
        outputs: Names in the exported model's order.
        frames: Inputs of each call.
        initial: Initial value of each state, by input name.
        pairs: (input, output) of each state.
        constants: Inputs that the compiled model has no longer, and their values.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        example: Any,
        inputs: Sequence[str],
        outputs: Sequence[str],
        frames: Frames,
        initial: Mapping[str, Array],
        pairs: Sequence[tuple[str, str]],
        constants: Mapping[str, Array],
    ) -> None:
        self._module = module.eval()
        self._leaves, self._structure = pytree.tree_flatten(example)
        self._names = list(inputs)
        self._outputs = list(outputs)
        self._carried = {outputs.index(output): name for name, output in pairs}
        self._frames = [
            {n: torch.from_numpy(a) for n, a in {**call, **constants}.items()}
            for call in frames.calls
        ]
        self._initial = {n: torch.from_numpy(a) for n, a in initial.items()}
        self._results: list[Any] = []
        self.reset()

    def reset(self) -> None:
        """Go back to the initial state."""
        self._state = dict(self._initial)

    def time(self, calls: int) -> float:
        """See `harness.Side`."""
        with _one_thread():
            return harness.loop(self._call, calls)

    def each(self, calls: int) -> Array:
        """See `harness.Side`."""
        with _one_thread():
            return harness.each(self._call, calls)

    def cold(self) -> float:
        """See `harness.Side`; what leads to the call, the interpreter above all, stays warm."""
        one = torch.ones(1)
        with _one_thread():
            memory.evict()
            for _ in range(3):
                torch.tanh(one @ one)
            return float(harness.each(self._call, 1)[0])

    def outputs(self, calls: int) -> dict[str, Array]:
        """See `harness.Side`."""
        self.reset()
        self.time(calls)
        return {
            name: value.numpy()
            for index, (name, value) in enumerate(zip(self._outputs, self._results, strict=True))
            if index not in self._carried
        }

    def _call(self, index: int) -> None:
        values = {**self._frames[index % len(self._frames)], **self._state}
        names = iter(self._names)
        leaves = [
            values[next(names)] if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves
        ]
        given = pytree.tree_unflatten(leaves, self._structure)
        if isinstance(given, dict):
            result = self._module(**given)
        else:
            result = (
                self._module(*given) if isinstance(given, tuple | list) else self._module(given)
            )
        self._results = [r for r in pytree.tree_leaves(result) if isinstance(r, torch.Tensor)]
        self._state = {name: self._results[at] for at, name in self._carried.items()}


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
