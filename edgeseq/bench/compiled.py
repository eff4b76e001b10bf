"""The compiled side: the library's own functions, called from C, or from ctypes without a `cc`."""

from __future__ import annotations

import numpy as np

from edgeseq.bench import harness, memory
from edgeseq.bench.driver import Driver
from edgeseq.bench.frames import Frames
from edgeseq.bench.harness import Array
from edgeseq.errors import ToolchainError
from edgeseq.runtime import Model


class Compiled:
    """Steps, or whole sequences, of a loaded artifact."""

    def __init__(self, model: Model, frames: Frames) -> None:
        self._stream = model.stream()
        first = self._stream.bind(frames.steps)
        self._calls = [first, *(first.twin() for _ in frames.calls[1:])]
        for bound, inputs in zip(self._calls, frames.calls, strict=True):
            for name, array in bound.inputs.items():
                array[...] = inputs[name]
        try:
            self._driver: Driver | None = Driver.bound(self._calls)
        except ToolchainError:
            self._driver = None

    @property
    def called_from(self) -> str:
        """`C` or `Python`."""
        return "Python" if self._driver is None else "C"

    def reset(self) -> None:
        """Go back to the initial state."""
        self._stream.reset()

    def time(self, calls: int) -> float:
        """See `harness.Side`."""
        if self._driver is not None:
            return self._driver.time(calls)
        return harness.loop(self._call, calls)

    def each(self, calls: int) -> Array:
        """See `harness.Side`."""
        if self._driver is not None:
            return self._driver.each(calls)
        return harness.each(self._call, calls)

    def cold(self) -> float:
        """See `harness.Side`."""
        memory.evict()
        return float(self.each(1)[0])

    def outputs(self, calls: int) -> dict[str, Array]:
        """See `harness.Side`."""
        self.reset()
        for index in range(calls):
            self._call(index)
        last = self._calls[(calls - 1) % len(self._calls)]
        return {name: np.array(array) for name, array in last.outputs.items()}

    def _call(self, index: int) -> None:
        self._calls[index % len(self._calls)]()
