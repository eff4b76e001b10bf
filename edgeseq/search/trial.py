"""A point of the space, measured: the model pruned and quantized as compile does it, and run."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.ir import facts
from edgeseq.quantize import calibrate
from edgeseq.quantize.calibrate import Runner
from edgeseq.quantize.layers import Array, find
from edgeseq.quantize.observers import Seen
from edgeseq.quantize.run import quantize, watched
from edgeseq.quantize.scheme import Settings
from edgeseq.search.space import FLOAT, Choice, Place
from edgeseq.train.calibration import Sample
from edgeseq.train.prunable import Matrix
from edgeseq.train.pruning import Pruner, Request

Point = Mapping[str, str]  # layer -> choice


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a point costs.

    Args:
        error: Relative power of the error of the worst output, on samples held out.
        nbytes: Bytes of the weights of the layers that are searched.
        seconds: Predicted time of a step of these layers.
    """

    error: float
    nbytes: int
    seconds: float

    @property
    def snr(self) -> float:
        """Signal over error in dB."""
        return -10 * math.log10(max(self.error, 1e-20))

    @property
    def drop(self) -> float:
        """By how many dB the error raises the level of the worst output."""
        return 10 * math.log10(1 + self.error)


class Bench:
    """Measures points.

    Args:
        model: The prepared model; it is not changed.
        request: How weights are pruned.
        samples: Calibration samples; empty: activations are scaled step by step.
        evidence: What pruning looks at.
        held_out: What errors are measured on.
    """

    def __init__(
        self,
        model: ir.Model,
        request: Request,
        samples: Sequence[Sample],
        evidence: Sequence[Sample],
        held_out: Sample,
    ) -> None:
        self._model, self._samples, self._held_out = model.clone(), samples, held_out
        self._request, self._evidence = request, evidence
        self._pruned: dict[tuple[str, float], dict[str, Array]] = {}
        states = calibrate.state_outputs(model)
        names = [str(v.name) for v in model.graph.outputs if v.dtype == ir.DataType.FLOAT]
        self._names = [n for n in names if n not in states] or names
        self._want = self._run(self._model)

    @functools.cached_property
    def _pruner(self) -> Pruner:
        return Pruner(self._model.clone(), self._request, self._evidence)

    @functools.cached_property
    def _scores(self) -> dict[Matrix, Array]:
        return self._pruner.scores()

    @functools.cached_property
    def _seen(self) -> dict[str, Seen]:
        return calibrate.watch(
            self._model, watched(self._model, find(self._model)[0]), self._samples
        )

    def matrices(self) -> dict[str, list[Matrix]]:
        """Node -> the matrices of it that can be pruned."""
        found: dict[str, list[Matrix]] = {}
        for matrix in self._pruner.patterns:
            for node in dict.fromkeys(str(use.node.name) for use in matrix.uses):
                found.setdefault(node, []).append(matrix)
        return found

    def measure(self, point: Point, places: Sequence[Place]) -> Measured:
        """Prune, quantize and run one point."""
        chosen = {p.name: p.choices[point[p.name]] for p in places}
        nbytes = sum(c.nbytes for c in chosen.values())
        seconds = sum(c.seconds or 0.0 for c in chosen.values())
        return Measured(self._error(chosen, places), nbytes, seconds)

    def _error(self, chosen: Mapping[str, Choice], places: Sequence[Place]) -> float:
        trial = self._model.clone()
        weights = trial.graph.initializers
        sparse = [p for p in places if chosen[p.name].density < 1]
        for place in sparse:
            for name, array in self._weights(place, chosen[place.name].density).items():
                weights[name].const_value = ir.tensor(array, name=name)
        schemes = {n: c.scheme for n, c in chosen.items()}
        if any(scheme != FLOAT for scheme in schemes.values()):
            seen = None if sparse else self._seen  # pruning moves what layers are given
            quantize(trial, schemes, self._samples, Settings(), seen=seen)
        elif not sparse:
            return 0.0
        got = self._run(trial)
        return max(_relative(got[name], self._want[name]) for name in self._names)

    def _weights(self, place: Place, density: float) -> dict[str, Array]:
        """The pruned weights of a layer, by initializer."""
        if (place.node, density) not in self._pruned:
            parts = self.matrices()[place.node]
            dense = {m: m.get() for m in parts}
            self._pruner.apply(self._scores, dict.fromkeys(parts, density))
            self._pruned[place.node, density] = {
                str(m.weight.name): m.weight.const_value.numpy().copy() for m in parts
            }
            for matrix, values in dense.items():
                matrix.set(values)
        return self._pruned[place.node, density]

    def _run(self, model: ir.Model) -> dict[str, Array]:
        rows = Runner(model)(self._held_out)
        return {n: np.concatenate([a.reshape(-1) for a in rows[n]]) for n in self._names}


def weight_names(bench: Bench, place: Place) -> list[str]:
    """What a recipe calls the pruned weights of a layer."""
    found: dict[str, None] = {}
    for matrix in bench.matrices().get(place.node, []):
        source = facts.get(matrix.weight, facts.SourceName)
        found[str(matrix.weight.name) if source is None else source.name] = None
    return list(found)


def _relative(got: Array, want: Array) -> float:
    power = float(np.square(want, dtype=np.float64).sum())
    error = float(np.square(got.astype(np.float64) - want).sum())
    if not math.isfinite(error):
        return 1e6
    return error / power if power else (1e6 if error else 0.0)
