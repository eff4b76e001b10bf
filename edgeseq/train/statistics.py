"""What the inputs of every matrix look like over a calibration set, recurrences step by step."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from edgeseq.interp import Interpreter
from edgeseq.interp.program import Step
from edgeseq.train import rows
from edgeseq.train.calibration import Sample
from edgeseq.train.prunable import Matrix, Use
from edgeseq.train.rollout import Rollout

Array = npt.NDArray[Any]
Tensor = torch.Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """Moments of the rows that one matrix is multiplied by.

    Args:
        gram: sum x x^T, [groups, inputs, inputs].
        total: sum x, [groups, inputs].
        count: Number of rows of a group.
        samples: Number of calibration samples they come from.
    """

    gram: Array
    total: Array
    count: int
    samples: int

    @property
    def norms(self) -> Array:
        """The norm of each input over all rows, [groups, inputs]."""
        norms: Array = np.sqrt(np.diagonal(self.gram, axis1=1, axis2=2))
        return norms

    @property
    def variance(self) -> Array:
        """The variance of each input, [groups, inputs]."""
        squares = np.diagonal(self.gram, axis1=1, axis2=2) / self.count
        return np.maximum(squares - (self.total / self.count) ** 2, 0)

    def error(self, difference: Array) -> float:
        """Return sum |D x|^2 over all rows: what replacing W by W + D costs the layer's output."""
        parts = np.split(difference.astype(np.float64), len(self.gram))
        products = zip(parts, self.gram, strict=True)
        return float(sum(np.einsum("oi,ij,oj->", d, g, d, optimize=True) for d, g in products))


def per_row(values: Array, matrix: Matrix) -> Array:
    """[groups, inputs] -> [outputs, inputs]: each output sees the inputs of its group."""
    return np.repeat(values, matrix.shape[0] // matrix.groups, axis=0)


def gather(
    model: ir.Model, matrices: Sequence[Matrix], samples: Sequence[Sample]
) -> tuple[dict[Matrix, Statistics], list[dict[str, Array]]]:
    """Run the samples through the model and sum up what each matrix is multiplied by.

    Returns:
        The statistics of every matrix that the samples reach, and the outputs of every sample.
    """
    collector = _Collector(matrices)
    run = Interpreter(model, torch.float32, watch=collector.see)
    rollout = Rollout(model)
    with torch.no_grad():
        results = [rollout(run, sample)[0] for sample in samples]
    outputs = [{name: y.numpy() for name, y in one.items()} for one in results]
    found = {
        m: Statistics(collector.grams[m].numpy(), total.numpy(), collector.counts[m], len(samples))
        for m, total in collector.totals.items()
    }
    return {m: found[m] for m in matrices if m in found}, outputs


class _Collector:
    """Sums while the interpreter runs."""

    def __init__(self, matrices: Sequence[Matrix]) -> None:
        self.grams: dict[Matrix, Tensor] = {}
        self.totals: dict[Matrix, Tensor] = {}
        self.counts: collections.Counter[Matrix] = collections.Counter()
        self._uses: Mapping[ir.Node, list[tuple[Matrix, Use]]] = collections.defaultdict(list)
        for matrix in matrices:
            for use in matrix.uses:
                self._uses[use.node].append((matrix, use))

    def see(
        self, step: Step, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor | None]
    ) -> None:
        """Add the rows of one node."""
        node = next((v.producer() for v in step.outputs if v.producer() is not None), None)
        if node is None or node not in self._uses:
            return
        y = outputs if isinstance(outputs, Tensor) else outputs[0]
        assert y is not None
        sums: dict[object, tuple[Tensor, Tensor]] = {}
        for matrix, use in self._uses[node]:
            # All gates of a recurrence see the same rows, except those behind a reset.
            key = (use.slot, use.direction, use.gate == "h" and use.slot == 2)
            if key not in sums:
                seen = rows.of(matrix, use, step, inputs, y).double()
                sums[key] = seen.transpose(1, 2) @ seen, seen
            gram, seen = sums[key]
            self._add(matrix, gram, seen)

    def _add(self, matrix: Matrix, gram: Tensor, seen: Tensor) -> None:
        if matrix not in self.grams:
            self.grams[matrix] = torch.zeros_like(gram)
            self.totals[matrix] = torch.zeros_like(seen[:, 0])
        self.grams[matrix] += gram
        self.totals[matrix] += seen.sum(1)
        self.counts[matrix] += seen.shape[1]
