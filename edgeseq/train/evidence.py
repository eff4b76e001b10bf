"""What a criterion may look at: matrices, calibration samples, and what follows from them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from edgeseq.errors import UsageError
from edgeseq.interp import Interpreter
from edgeseq.train.calibration import Sample
from edgeseq.train.prunable import Matrix
from edgeseq.train.rollout import Rollout
from edgeseq.train.statistics import Statistics, gather

Array = npt.NDArray[Any]
Outputs = list[dict[str, Array]]


class Evidence:
    """Everything known before pruning; what costs a run of the model is computed when asked for.

    Args:
        model: The dense model, its sizes bound and its states marked.
        matrices: Those that are to be pruned.
        samples: Calibration samples; may be empty for criteria that look at weights alone.
        seed: Of everything random.
    """

    def __init__(
        self, model: ir.Model, matrices: Sequence[Matrix], samples: Sequence[Sample], seed: int = 0
    ) -> None:
        self.model = model
        self.matrices = tuple(matrices)
        self.samples = tuple(samples)
        self.seed = seed

    @functools.cached_property
    def statistics(self) -> dict[Matrix, Statistics]:
        """Moments of what each matrix is multiplied by.

        Raises:
            UsageError: there are no samples, or they never reach a matrix.
        """
        found, _ = self._dense_run
        unused = [m.name for m in self.matrices if m not in found]
        if unused:
            raise UsageError(
                f"the samples never reach {len(unused)} of {len(self.matrices)} matrices",
                at=unused[:5],
                why="they lie in a branch that no sample takes",
                fix="add samples that do, or keep these dense with --keep-dense",
            )
        return found

    @functools.cached_property
    def dense_outputs(self) -> Outputs:
        """The outputs of the model as it was when they were first asked for."""
        return self._dense_run[1]

    @functools.cached_property
    def _dense_run(self) -> tuple[dict[Matrix, Statistics], Outputs]:
        """One run gives both: a run is what costs time."""
        self.need_samples()
        return gather(self.model, self.matrices, self.samples)

    def outputs(self) -> Outputs:
        """Run all samples through the model as it is now; states are no outputs."""
        run, rollout = Interpreter(self.model, torch.float32), Rollout(self.model)
        with torch.no_grad():
            results = [rollout(run, sample)[0] for sample in self.samples]
        return [{name: y.numpy() for name, y in one.items()} for one in results]

    def output_error(self) -> float:
        """Return the worst relative error of an output now: |y - dense|^2 / |dense|^2."""
        return max(relative_errors(self.dense_outputs, self.outputs()).values(), default=0.0)

    def need_samples(self) -> None:
        """Refuse to go on without samples.

        Raises:
            UsageError: there are none.
        """
        if not self.samples:
            raise UsageError(
                "this needs calibration samples",
                why="it looks at what the model computes, not at the weights alone",
                fix="--calibrate PATH, or --criterion magnitude --allocation erk",
            )


def relative_errors(dense: Outputs, pruned: Outputs) -> dict[str, float]:
    """Return |y - dense|^2 / |dense|^2 of every float output, over all samples."""
    errors: dict[str, float] = {}
    for name in _floats(dense):
        want = np.concatenate([one[name].ravel() for one in dense]).astype(np.float64)
        got = np.concatenate([one[name].ravel() for one in pruned]).astype(np.float64)
        energy = float(want @ want)
        errors[name] = float(((got - want) ** 2).sum()) / energy if energy else 0.0
    return errors


def _floats(outputs: Sequence[Mapping[str, Array]]) -> list[str]:
    return [name for name, y in outputs[0].items() if y.dtype.kind == "f"] if outputs else []
