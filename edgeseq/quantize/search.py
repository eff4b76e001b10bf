"""A scheme for each layer: the fewest bytes whose error stays within a budget.

Each layer is quantized alone, scheme by scheme, and the error of the outputs measured. Errors of
different layers are hardly correlated, so their powers nearly add up: starting from the cheapest
scheme everywhere, the layer that gives back most error for the fewest bytes is widened, until the
sum fits. The whole is then measured; where it is off, the sum is held against a smaller budget.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.quantize import calibrate
from edgeseq.quantize.calibrate import Runner
from edgeseq.quantize.layers import Array, Layer, find
from edgeseq.quantize.observers import Seen
from edgeseq.quantize.run import quantize, watched
from edgeseq.quantize.scheme import Settings, parse
from edgeseq.train.calibration import Sample

FLOAT = "float"
MIXED = ("w4g32", "int8", "bf16", FLOAT)  # from cheap to exact
_ROUNDS = 8


@dataclasses.dataclass(frozen=True)
class Option:
    """One layer in one scheme.

    Args:
        scheme: Its name; `float` for none.
        nbytes: Bytes of its weights.
        error: Power of the error it alone makes in the worst output, relative to that output.
    """

    scheme: str
    nbytes: int
    error: float


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        schemes: Layer -> scheme.
        error: Relative power of the error of the worst output, all layers together.
        options: Layer -> what was measured of it.
    """

    schemes: Mapping[str, str]
    error: float
    options: Mapping[str, Sequence[Option]]


def budget_of(drop: float) -> float:
    """Relative error power that raises an output's level by `drop` dB."""
    return float(10 ** (drop / 10) - 1)


def search(
    model: ir.Model,
    ladder: Sequence[str],
    samples: Sequence[Sample],
    held_out: Sample,
    settings: Settings,
    budget: float,
    progress: Callable[[str], None],
) -> Found:
    """Choose a scheme for every layer of a model, which is not changed.

    Args:
        model: Its sizes bound and its states marked.
        ladder: Schemes from cheap to exact; the last must be `float`.
        samples: Calibration samples; without them int8 is dynamic.
        held_out: What errors are measured on.
        settings: Further choices.
        budget: Largest relative error power of an output.
        progress: Told what is being done.
    """
    trial = _Trial(model, samples, held_out, settings)
    options: dict[str, list[Option]] = {}
    for layer in trial.layers:
        progress(layer.name)
        options[layer.name] = [_option(trial, layer, scheme) for scheme in ladder]
    aim, chosen, error = budget, {}, math.inf
    for _ in range(_ROUNDS):
        chosen = cheapest(options, aim)
        error = trial.error({n: o.scheme for n, o in chosen.items()})
        if error <= budget:
            break
        predicted = sum(o.error for o in chosen.values())
        aim = min(aim, predicted) * min(0.7, budget / error)
    else:
        chosen = {name: ladder_of[-1] for name, ladder_of in options.items()}
        error = 0.0
    return Found({n: o.scheme for n, o in chosen.items()}, error, options)


def cheapest(options: Mapping[str, Sequence[Option]], budget: float) -> dict[str, Option]:
    """Widen layers from the cheapest scheme on, most error for the fewest bytes first."""
    rung = dict.fromkeys(options, 0)

    def total() -> float:
        return sum(options[n][i].error for n, i in rung.items())

    while total() > budget:
        best, gain = None, 0.0
        for name, at in rung.items():
            now = options[name][at]
            for further in range(at + 1, len(options[name])):
                then = options[name][further]
                less = (now.error - then.error) / max(then.nbytes - now.nbytes, 1)
                if less > gain:
                    best, gain = (name, further), less
        if best is None:
            break
        rung[best[0]] = best[1]
    return {name: options[name][i] for name, i in rung.items()}


class _Trial:
    """Quantizes copies of a model and measures them against its float self."""

    def __init__(
        self, model: ir.Model, samples: Sequence[Sample], held_out: Sample, settings: Settings
    ) -> None:
        self._model, self._samples = model.clone(), samples
        self._held_out, self._settings = held_out, settings
        self.layers = find(self._model)[0]
        names = watched(self._model, self.layers)
        self._seen: dict[str, Seen] = calibrate.watch(self._model, names, samples)
        states = calibrate.state_outputs(model)
        self._names = [str(v.name) for v in model.graph.outputs if v.name not in states] or list(
            states
        )
        self._want = self._run(self._model)

    def error(self, schemes: Mapping[str, str]) -> float:
        """Relative error power of the worst output."""
        if all(scheme == FLOAT for scheme in schemes.values()):
            return 0.0
        trial = self._model.clone()
        quantize(trial, schemes, self._samples, self._settings, seen=self._seen)
        got = self._run(trial)
        return max(_relative(got[name], self._want[name]) for name in self._names)

    def _run(self, model: ir.Model) -> dict[str, Array]:
        rows = Runner(model)(self._held_out)
        return {n: np.concatenate([a.reshape(-1) for a in rows[n]]) for n in self._names}


def _option(trial: _Trial, layer: Layer, scheme: str) -> Option:
    shapes = [layer.matrix(data) for _, data in layer.weights()]
    if scheme == FLOAT:
        return Option(scheme, sum(4 * rows * inputs for rows, inputs in shapes), 0.0)
    size = sum(parse(scheme).nbytes(*shape) for shape in shapes)
    return Option(scheme, size, trial.error({layer.name: scheme}))


def _relative(got: Array, want: Array) -> float:
    power = float(np.square(want, dtype=np.float64).sum())
    error = float(np.square(got.astype(np.float64) - want).sum())
    return error / power if power else (math.inf if error else 0.0)
