"""The PyTorch side: the module as it is, one thread, states fed back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from edgeseq.bench import harness
from edgeseq.bench.frames import Frames
from edgeseq.bench.harness import Array


class Eager:
    """A module called with positional inputs in the order of the exported model.

    Args:
        module: In any mode; it is timed in eval mode.
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
        inputs: Sequence[str],
        outputs: Sequence[str],
        frames: Frames,
        initial: Mapping[str, Array],
        pairs: Sequence[tuple[str, str]],
        constants: Mapping[str, Array],
    ) -> None:
        self._module = module.eval()
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
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.inference_mode():
                return harness.loop(self._call, calls)
        finally:
            torch.set_num_threads(threads)

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
        self._results = pytree.tree_leaves(self._module(*(values[n] for n in self._names)))
        self._state = {name: self._results[at] for at, name in self._carried.items()}
