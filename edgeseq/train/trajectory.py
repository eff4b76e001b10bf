"""How far the model's inner trajectory moves when one unit is silenced (after OPTIN).

    score = sum over values v of |G(v) - G'(v)|^2 + s * |y - y'|^2 / |y|^2,   G(v) = n(v) n(v)^T

v is what each weighted layer makes, row by row (steps and positions); n scales every row to length
1, so that G holds the angles between rows. The term of the outputs y is brought, by a power of ten,
to a tenth of the first, as the authors do with their divergence of logits. One run of the model per
unit; no labels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from edgeseq.interp import Interpreter
from edgeseq.interp.program import Step
from edgeseq.ir.channels import Channels
from edgeseq.train import calibration
from edgeseq.train.evidence import Evidence
from edgeseq.train.rollout import Rollout

Array = npt.NDArray[Any]
Tensor = torch.Tensor

NAME = "trajectory"
ROWS = 768  # of a value that are compared
STEPS = 96  # of the samples that are run
_PARTS = 10.0  # the output term is about one part in so many


@dataclasses.dataclass(frozen=True)
class _Trace:
    grams: Mapping[ir.Value, Tensor]
    outputs: Tensor


def scores(found: Channels, units: Array, evidence: Evidence) -> Array:
    """Return the score of each unit, by its number.

    Raises:
        UsageError: there are no samples.
    """
    evidence.need_samples()
    runner = _Runner(found, evidence)
    dense = runner.trace()
    moved, lost = np.zeros(len(units)), np.zeros(len(units))
    for place, unit in enumerate(units):
        with runner.silenced(int(unit)):
            now = runner.trace()
        moved[place] = sum(
            float((dense.grams[v] - now.grams[v]).square().sum()) for v in dense.grams
        )
        energy = float(dense.outputs.square().sum()) or 1.0
        lost[place] = float((dense.outputs - now.outputs).square().sum()) / energy
    result = np.zeros(1 + max(int(one.max(initial=0)) for one in found.numbers.values()))
    result[units] = moved + lost * _scale(moved, lost)
    return result


def _scale(moved: Array, lost: Array) -> float:
    """Return the power of ten that makes the second about a tenth of the first."""
    if not moved.any() or not lost.any():
        return 1.0
    return float(10.0 ** int(math.log10(moved.mean() / lost.mean()) - math.log10(_PARTS)))


class _Runner:
    """Runs the samples, some units silenced, and keeps what the layers make."""

    def __init__(self, found: Channels, evidence: Evidence) -> None:
        self._found = found
        self._samples = _first(evidence.samples, evidence.model)
        self._nodes = {use.node for matrix in evidence.matrices for use in matrix.uses}
        self._rows: dict[ir.Value, list[Tensor]] = {}
        self._run = Interpreter(evidence.model, torch.float32, watch=self._see)
        self._rollout = Rollout(evidence.model)

    def trace(self) -> _Trace:
        """Run all samples."""
        self._rows = {}
        outputs = []
        with torch.no_grad():
            for sample in self._samples:
                made, _ = self._rollout(self._run, sample)
                outputs += [y.reshape(-1) for y in made.values() if y.is_floating_point()]
        return _Trace(
            {v: _gram(torch.cat(rows)) for v, rows in self._rows.items()}, torch.cat(outputs)
        )

    def silenced(self, unit: int) -> _Silence:
        """Let nothing read a unit while the context lasts."""
        columns = []
        for axis in self._found.reads:
            places = np.flatnonzero(self._found.numbers[axis] == unit)
            weight = self._run.weights.get(str(axis.value.name))
            if len(places) and weight is not None:
                columns.append((weight, axis.number, torch.from_numpy(places)))
        return _Silence(columns)

    def _see(self, step: Step, inputs: Sequence[Tensor | None], outputs: Any) -> None:
        del inputs
        node = next((v.producer() for v in step.outputs if v.producer() is not None), None)
        if node not in self._nodes:
            return
        y = outputs[0]
        if y is not None and y.dim() > 1:
            wide = y.movedim(1, -1) if step.call.op.startswith("Conv") else y
            self._rows.setdefault(step.outputs[0], []).append(wide.reshape(-1, wide.shape[-1]))


class _Silence:
    """Sets columns of weights to zero, and back."""

    def __init__(self, columns: Sequence[tuple[Tensor, int, Tensor]]) -> None:
        self._columns = columns
        self._saved: list[Tensor] = []

    def __enter__(self) -> None:
        with torch.no_grad():
            for weight, axis, places in self._columns:
                self._saved.append(weight.index_select(axis, places))
                weight.index_fill_(axis, places, 0.0)

    def __exit__(self, *error: object) -> None:
        with torch.no_grad():
            for (weight, axis, places), saved in zip(self._columns, self._saved, strict=True):
                weight.index_copy_(axis, places, saved)


def _gram(rows: Tensor) -> Tensor:
    if len(rows) > ROWS:
        rows = rows[torch.linspace(0, len(rows) - 1, ROWS).long()]
    units = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    gram: Tensor = units @ units.T
    return gram


def _first(samples: Sequence[calibration.Sample], model: ir.Model) -> list[calibration.Sample]:
    """Take samples until there are `STEPS` steps; those that run step by step are cut."""
    taken: list[calibration.Sample] = []
    left = STEPS
    for sample in samples:
        if left <= 0:
            break
        if calibration.is_stepwise(model):
            sample = {name: array[:left] for name, array in sample.items()}
        taken.append(sample)
        left -= calibration.steps_of(sample, model)
    return taken
