"""The interface of a loaded model, as `edgeseq.runtime` offers it, and small wrappers over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


class StreamLike(Protocol):
    """One stream."""

    def step(self, inputs: Arrays, /) -> Any:
        """Advance by one step."""

    def run(self, inputs: Arrays, /) -> Any:
        """Advance by a chunk."""

    def reset(self) -> None:
        """Go back to the initial state."""

    def save(self) -> bytes:
        """Return the state."""

    def load(self, saved: bytes, /) -> None:
        """Continue from a saved state."""

    def state(self, name: str, /) -> Array:
        """Return one state."""


class ModelLike(Protocol):
    """A loaded model."""

    def run(self, inputs: Arrays, /) -> Any:
        """Run a whole sequence."""

    def stream(self) -> StreamLike:
        """Start a stream."""


def named(result: Any, names: Sequence[str]) -> dict[str, Array]:
    """Bring a result to a dict: a single output comes as an array."""
    if isinstance(result, Mapping):
        return {name: np.asarray(array) for name, array in result.items()}
    return {names[0]: np.asarray(result)}


class Sequencer:
    """Cuts recorded inputs into chunks, feeds them to a stream and joins the outputs.

    Args:
        inputs: The recorded inputs.
        input_axes: Time axis of each input, None where it has none.
        output_axes: Time axis of each output.
        stacked: Whether the model is one step.
    """

    def __init__(
        self,
        inputs: Arrays,
        input_axes: Mapping[str, int | None],
        output_axes: Mapping[str, int | None],
        *,
        stacked: bool,
    ) -> None:
        self.inputs = {name: inputs[name] for name in input_axes}
        self._input_axes, self._output_axes = input_axes, output_axes
        self._stacked = stacked

    @property
    def steps(self) -> int:
        """Number of recorded steps."""
        for name, axis in self._input_axes.items():
            if axis is not None:
                return int(self.inputs[name].shape[axis])
        return 1

    def part(self, start: int, stop: int) -> dict[str, Array]:
        """Return the inputs of steps `start` to `stop`."""
        return {
            name: array if axis is None else _cut(array, axis, start, stop)
            for (name, axis), array in zip(
                self._input_axes.items(), self.inputs.values(), strict=True
            )
        }

    def frame(self, step: int) -> dict[str, Array]:
        """Return the inputs of one step as `step()` takes them."""
        part = self.part(step, step + 1)
        return {name: array[0] for name, array in part.items()} if self._stacked else part

    def run(self, stream: StreamLike, chunks: Sequence[int], start: int = 0) -> dict[str, Array]:
        """Feed chunks of these sizes from step `start` on; return the joined outputs."""
        parts = []
        for size in chunks:
            parts.append(self._named(stream.run(self.part(start, start + size))))
            start += size
        return self.join(parts)

    def step(self, stream: StreamLike, start: int = 0, stop: int | None = None) -> dict[str, Array]:
        """Feed single steps; return the joined outputs."""
        last = self.steps if stop is None else stop
        return self.join([self.one(stream, now) for now in range(start, last)])

    def one(self, stream: StreamLike, step: int) -> dict[str, Array]:
        """Feed one step."""
        result = self._named(stream.step(self.frame(step)))
        return {n: array[None] for n, array in result.items()} if self._stacked else result

    def join(self, parts: Sequence[dict[str, Array]]) -> dict[str, Array]:
        """Join outputs along time; one without a time axis is worth what the last chunk said."""
        joined = {}
        for name in parts[0]:
            axis = self._output_axes.get(name)
            rows = [part[name] for part in parts]
            joined[name] = rows[-1] if axis is None else np.concatenate(rows, axis)
        return joined

    def _named(self, result: Any) -> dict[str, Array]:
        return named(result, list(self._output_axes))


def _cut(array: Array, axis: int, start: int, stop: int) -> Array:
    key = [slice(None)] * array.ndim
    key[axis] = slice(start, stop)
    return np.ascontiguousarray(array[tuple(key)])
