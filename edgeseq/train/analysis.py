"""How much pruning a model stands: one-shot sweeps, their knee, each layer's share, baselines."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.errors import UsageError
from edgeseq.ir.patterns import Pattern
from edgeseq.options import SparsityOptions
from edgeseq.train import allocation, calibration, compress, structured
from edgeseq.train.calibration import Sample
from edgeseq.train.pruning import Progress, Pruner, Request

STEPS = 50  # that `study` looks at: it runs the model some dozen times
STUDIED = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)  # each point is a whole pruning
SPARSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
BASELINE = "random"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Output errors (relative, squared) of one criterion at every sparsity, pruned at once.

    Args:
        criterion: Its name.
        sparsities: Ascending.
        errors: One for each.
        spread: Standard deviation over seeds, for `random`; zeros else.
    """

    criterion: str
    sparsities: tuple[float, ...]
    errors: tuple[float, ...]
    spread: tuple[float, ...]

    @property
    def knee(self) -> float | None:
        """The essential sparsity: the last one before the error begins to grow steeply."""
        return knee(self.sparsities, self.errors)


@dataclasses.dataclass(frozen=True)
class Study:
    """What a pattern costs a model, for the report.

    Args:
        pattern: The pattern.
        sweeps: The criterion's and that of random masks.
        layers: Name of a layer -> density -> the output error with it pruned alone.
    """

    pattern: str
    sweeps: tuple[Sweep, ...]
    layers: dict[str, dict[float, float]]


def study(
    model: ir.Model, options: SparsityOptions, seed: int, progress: Progress | None = None
) -> Study | None:
    """Sweep a model as it is to be pruned, and see what each of its layers stands.

    Args:
        model: The dense model; it is not changed.
        options: Pattern, criterion, samples and what stays dense. What is given a density by name
            stays dense here, and no diagonal is kept: high sparsities would be out of reach.
        seed: Of everything random.
        progress: Called with one line about each stage.

    Returns:
        None for whole units, which have no sweep.
    """
    if structured.asked(options.pattern):
        return None
    given = calibration.load(options.calibrate, model)
    samples = _few(given or calibration.synthetic(model, seed=seed), model)
    one = compress.request_of(options, seed, bool(given))
    plain = dataclasses.replace(
        one,
        allocation="erk",
        keep_dense=(*one.keep_dense, *one.densities),
        densities={},
        keep_diagonal=False,
    )
    try:
        sweeps = sweep(model, plain, samples, sparsities=STUDIED, seeds=1, progress=progress)
    except UsageError:  # all that was pruned was named
        return None
    return Study(
        plain.pattern, tuple(sweeps), sensitivities(model, plain, samples, progress=progress)
    )


def _few(samples: Sequence[Sample], model: ir.Model) -> list[Sample]:
    """The first sample, or what of it takes `STEPS` runs of the model."""
    first = samples[0]
    if calibration.is_stepwise(model):
        first = {name: array[:STEPS] for name, array in first.items()}
    return [first]


def sweep(
    model: ir.Model,
    request: Request,
    samples: Sequence[Sample],
    *,
    criteria: Sequence[str] | None = None,
    sparsities: Sequence[float] = SPARSITIES,
    seeds: int = 3,
    progress: Progress | None = None,
) -> list[Sweep]:
    """Prune copies of a model at ever higher sparsity.

    Args:
        model: The dense model; it is not changed.
        request: Pattern, allocation and names; its sparsity and criterion are replaced.
        samples: What errors are measured on.
        criteria: Names; None: the request's and random masks, which show what it is worth.
        sparsities: Where to measure; a pattern of a fixed density is measured there alone.
        seeds: Of the random masks.
        progress: Called with one line about each criterion.
    """
    own = Pattern.parse(request.pattern).fixed_density
    points = tuple(sparsities) if own is None else (1 - own,)
    found = []
    for name in criteria or dict.fromkeys((request.criterion, BASELINE)):
        one = dataclasses.replace(request, criterion=name, sparsity=points[0])
        tries = range(seeds if name == BASELINE else 1)
        errors = np.array([_errors(model, one, samples, points, seed) for seed in tries])
        mean, spread = errors.mean(axis=0), errors.std(axis=0)
        found.append(Sweep(name, points, tuple(map(float, mean)), tuple(map(float, spread))))
        if progress is not None:
            progress(f"{name}: {', '.join(f'{e:.2g}' for e in mean)}")
    return found


def knee(sparsities: Sequence[float], errors: Sequence[float]) -> float | None:
    """Return the smallest sparsity from which the error rises more than twice as fast as before.

    The slope to the next point is compared with the median of the slopes up to there; None where
    the error never does so.
    """
    runs = itertools.pairwise((0.0, *sparsities))
    rises = itertools.pairwise((0.0, *errors))
    slopes = [(b - a) / (y - x) for (x, y), (a, b) in zip(runs, rises, strict=True)]
    for place in range(1, len(slopes)):
        if slopes[place] > 2 * max(float(np.median(slopes[:place])), 1e-12):
            return sparsities[place - 1]
    return None


def sensitivities(
    model: ir.Model,
    request: Request,
    samples: Sequence[Sample],
    grid: Sequence[float] = (0.5, 0.2, 0.1),
    progress: Progress | None = None,
) -> dict[str, dict[float, float]]:
    """Return, by name of the layer, density -> the model's output error with it pruned alone."""
    own = Pattern.parse(request.pattern).fixed_density
    one = dataclasses.replace(request, sparsity=None if own else 0.0)
    pruner = Pruner(model.clone(), one, samples, progress)
    layers = allocation.layers(list(pruner.patterns))
    found = pruner.sensitivity(layers, pruner.scores(), grid if own is None else (own,))
    return {m.name.partition("[")[0]: errors for m, errors in found.items()}


def _errors(
    model: ir.Model,
    request: Request,
    samples: Sequence[Sample],
    sparsities: Sequence[float],
    seed: int,
) -> list[float]:
    """Prune one copy again and again; its dense weights come back in between."""
    pruner = Pruner(model.clone(), dataclasses.replace(request, seed=seed), samples)
    scores = pruner.scores()
    dense = {m: m.get() for m in pruner.patterns}
    errors = []
    for sparsity in sparsities:
        pruner.apply(scores, pruner.allocate(scores, sparsity))
        errors.append(pruner.evidence.output_error())
        for matrix, weights in dense.items():
            matrix.set(weights)
    return errors
