"""Error against time: a quantized model beside its float self, over many steps with carried states.

Both see the same inputs. A recurrence forgets its errors or gathers them: the error of every output
and state is summed up window by window, and a line through the second half says whether it grows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir import facts
from edgeseq.quantize.calibrate import Runner, state_outputs
from edgeseq.train.calibration import Sample, data_inputs, is_stepwise, steps_of

Array = npt.NDArray[Any]

STEPS = 5000
WINDOWS = 50
GROWTH = 1.5  # the last quarter over the second one, of errors that matter


@dataclasses.dataclass(frozen=True)
class Curve:
    """The error of one output or state.

    Args:
        name: Of the graph output.
        kind: `output` or `state`.
        rms: Root mean square of the reference over all steps.
        errors: Root mean square of the error, window by window.
        largest: The largest error of all.
    """

    name: str
    kind: str
    rms: float
    errors: tuple[float, ...]
    largest: float

    @property
    def snr(self) -> float:
        """Signal over error in dB, all windows together."""
        error = float(np.sqrt(np.mean(np.square(self.errors))))
        return 20 * float(np.log10(max(self.rms, 1e-30) / max(error, 1e-30)))

    @property
    def slope(self) -> float:
        """Growth of the error over the second half, relative to its mean, per window."""
        half = np.array(self.errors[len(self.errors) // 2 :])
        if len(half) < 2 or not half.any():
            return 0.0
        return float(np.polyfit(np.arange(len(half)), half / half.mean(), 1)[0])

    @property
    def grows(self) -> bool:
        """Whether the error is larger at the end than in the second quarter, by far."""
        quarter = len(self.errors) // 4
        if quarter < 2:
            return False
        early = float(np.mean(self.errors[quarter : 2 * quarter]))
        late = float(np.mean(self.errors[-quarter:]))
        return late > max(GROWTH * early, 1e-6 * self.rms)


def measure(
    reference: ir.Model, quantized: ir.Model, sample: Sample, *, steps: int = STEPS
) -> list[Curve]:
    """Run both models over a sample, repeated until it has `steps` steps.

    Args:
        reference: The float model.
        quantized: The same with fewer bits; same inputs, outputs and states.
        sample: The inputs.
        steps: How many steps to run.
    """
    long = repeated(sample, reference, steps)
    runs = [_by_step(Runner(m)(long), reference) for m in (reference, quantized)]
    states = state_outputs(reference)
    curves = []
    for name, want in runs[0].items():
        if want.dtype.kind != "f":
            continue
        error = np.square(runs[1][name].astype(np.float64) - want).mean(axis=1)
        cut = np.array_split(error, min(WINDOWS, len(error)))
        curves.append(
            Curve(
                name,
                "state" if name in states else "output",
                float(np.sqrt(np.square(want, dtype=np.float64).mean())),
                tuple(float(np.sqrt(part.mean())) for part in cut),
                float(np.abs(runs[1][name].astype(np.float64) - want).max()),
            )
        )
    return curves


def repeated(sample: Sample, model: ir.Model, steps: int) -> Sample:
    """A sample again and again, cut to `steps` steps (or what the model's range allows)."""
    span = facts.get(model, facts.DimRange)
    if span is not None:
        steps = min(steps, span.high)
    have = steps_of(sample, model)
    times = -(-steps // have)
    values = {str(v.name): v for v in data_inputs(model)}
    return {n: _tiled(a, values[n], model, times, steps) for n, a in sample.items()}


def _tiled(array: Array, value: ir.Value, model: ir.Model, times: int, steps: int) -> Array:
    axis = 0 if is_stepwise(model) else _time_axis(value)
    if axis is None:
        return array
    return np.concatenate([array] * times, axis=axis).take(range(steps), axis=axis)


def _time_axis(value: ir.Value) -> int | None:
    axes = [i for i, d in enumerate(value.shape or ()) if not isinstance(d, int)]
    return axes[0] if axes else None


def _by_step(rows: Mapping[str, Sequence[Array]], model: ir.Model) -> dict[str, Array]:
    """Outputs as [steps, elements]; of a whole sequence, its time axis is brought to the front."""
    found = {}
    for value in model.graph.outputs:
        name = str(value.name)
        if is_stepwise(model):
            found[name] = np.stack([a.reshape(-1) for a in rows[name]])
            continue
        (whole,) = rows[name]
        axis = _time_axis(value)
        moved = whole[None] if axis is None else np.moveaxis(whole, axis, 0)
        found[name] = moved.reshape(len(moved), -1)
    return found
