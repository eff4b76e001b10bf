"""Cuts samples into windows, a batch of streams at a time; a stream goes on where it stopped.

A step model gets `steps` frames of each stream, then the next `steps` of the same samples with the
states carried (truncated back-propagation through time). A model with a time axis gets a stretch of
each sample, `steps` long where the samples are longer, from rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.train.calibration import Sample, data_inputs, is_stepwise, steps_of


@dataclasses.dataclass(frozen=True)
class Window:
    """What to feed: inputs `[frames, streams, *shape]`, and which streams start anew."""

    inputs: dict[str, torch.Tensor]
    fresh: torch.Tensor


class Windows:
    """An endless sequence of windows, the same for the same seed.

    Args:
        model: The model, its states marked.
        samples: As `calibration.load` returns them.
        streams: How many side by side.
        steps: Length of a window; less where a sample is shorter.
        seed: Of the order.
    """

    def __init__(
        self, model: ir.Model, samples: Sequence[Sample], streams: int, steps: int, seed: int
    ) -> None:
        if not samples:
            raise UsageError("no samples to recover on", fix="--calibrate PATH")
        self._samples = samples
        self._lengths = [steps_of(sample, model) for sample in samples]
        self._axes = _axes(model)
        self._goes_on = is_stepwise(model)
        self._streams = streams
        self.steps = min(steps, *self._lengths)
        self._random = np.random.default_rng(seed)
        self._place = [(0, self._lengths[0])] * streams  # at an end: each begins with a new sample

    def next(self) -> Window:
        """Return the next window of every stream."""
        fresh = []
        rows = []
        for stream in range(self._streams):
            sample, start = self._place[stream]
            new = not self._goes_on or start + self.steps > self._lengths[sample]
            if new:
                sample = int(self._random.integers(len(self._samples)))
                # Long recordings are begun anywhere, so that few of them still vary.
                start = int(self._random.integers(self._lengths[sample] - self.steps + 1))
                start = start if not self._goes_on or self._random.random() < 0.5 else 0
            fresh.append(new)
            rows.append(_cut(self._samples[sample], self._axes, start, self.steps))
            self._place[stream] = (sample, start + self.steps)
        inputs = {name: self._together([row[name] for row in rows]) for name in rows[0]}
        return Window(inputs, torch.tensor(fresh))

    def state(self) -> dict[str, Any]:
        """Return where the sequence is."""
        return {"place": list(self._place), "random": self._random.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was taken."""
        self._place = [(int(sample), int(start)) for sample, start in state["place"]]
        self._random.bit_generator.state = state["random"]

    def _together(self, arrays: list[Any]) -> torch.Tensor:
        stacked = torch.from_numpy(np.stack(arrays, 1 if self._goes_on else 0))
        return stacked if self._goes_on else stacked.unsqueeze(0)


def loudest(sample: Sample, model: ir.Model, steps: int) -> Sample:
    """Return the steps in a row whose floats have the largest power; all of a shorter sample."""
    length = steps_of(sample, model)
    steps = min(steps, length)
    axes = _axes(model)
    power = np.zeros(length)
    for name, axis in axes.items():
        if sample[name].dtype.kind == "f":
            rows = np.moveaxis(sample[name], axis, 0).reshape(length, -1)
            power += np.square(rows, dtype=np.float64).mean(1)
    sums = np.concatenate([[0.0], np.cumsum(power)])
    return _cut(sample, axes, int(np.argmax(sums[steps:] - sums[:-steps])), steps)


def _cut(sample: Sample, axes: dict[str, int], start: int, steps: int) -> Sample:
    return {
        name: array.take(range(start, start + steps), axes[name]) if name in axes else array
        for name, array in sample.items()
    }


def _axes(model: ir.Model) -> dict[str, int]:
    """Return the axis of time of each input that has one: the leading one for a step model."""
    if is_stepwise(model):
        return {str(v.name): 0 for v in data_inputs(model)}
    marked = [(v.name, facts.get(v, facts.TimeAxis)) for v in data_inputs(model)]
    return {str(name): time.axis for name, time in marked if time is not None}
