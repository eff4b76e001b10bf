"""What `--sparsity` does: read samples, prune, recover, and say what it cost."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq import pipeline
from edgeseq.errors import UsageError
from edgeseq.ir.patterns import Mask
from edgeseq.options import Event, SparsityOptions
from edgeseq.registry import hint
from edgeseq.train import calibration, prunable, rearrange, structured
from edgeseq.train.calibration import Sample
from edgeseq.train.evidence import Evidence
from edgeseq.train.prunable import Matrix
from edgeseq.train.pruning import Pruned, Pruner, Request

Array = npt.NDArray[Any]
Progress = Callable[[Event], None]

SCHEDULES = ("cubic", "one-shot")
EVIDENCE_STEPS = 500  # of the samples, for statistics and errors; recovery learns from all


@dataclasses.dataclass(frozen=True)
class Compressed:
    """A pruned model and what is to be said of it.

    Args:
        model: The model; the one that was given, unless recovery made another.
        pruned: Rows, masks and the error before recovery.
        output_error: Relative squared error of the worst output, at the end.
        synthetic: There were no samples: the error is that of random inputs.
        notes: What the user should know.
        reshaped: Weights and states have become smaller or have another order.
    """

    model: ir.Model
    pruned: Pruned
    output_error: float
    synthetic: bool
    notes: tuple[str, ...]
    reshaped: bool = False


def compress(
    model: ir.Model,
    options: SparsityOptions,
    seed: int,
    progress: Progress,
    cost_table: Path | None = None,
    dense_seconds: Callable[[ir.Model], float] | None = None,
) -> Compressed:
    """Prune a model in place, and recover it where that is asked for.

    Args:
        model: Its sizes bound and its states marked.
        options: What to do.
        seed: Of everything random.
        progress: Called whenever a piece is done.
        cost_table: What times a budget is reckoned by; None: the tables that are shipped.
        dense_seconds: Measures a step of a model: then a budget is the whole model's, else that
            of the pruned layers.

    Raises:
        UsageError: samples, names or numbers that do not fit.
    """
    schedule = _schedule(options)
    given = calibration.load(options.calibrate, model)
    if given and options.hold_out:
        given = calibration.split(given, model)[0]
    samples = given or calibration.synthetic(model, seed=seed)
    if structured.asked(options.pattern):
        return _units(model, options, samples, seed, progress, not given)
    start = time.perf_counter()
    request, few = request_of(options, seed, bool(given)), shortened(samples, model)
    pruner = Pruner(model, request, few, _sayer(progress))
    moved: tuple[str, ...] = ()
    if options.rearrange:
        moved = rearrange.rearrange(pruner)
        pruner = Pruner(model, request, few, _sayer(progress))
    if options.budget is not None:
        done = _within_budget(
            pruner, samples, options, cost_table, dense_seconds, seed, progress, not given
        )
    elif not options.recover:
        pruned = pruner.run()
        done = Compressed(model, pruned, pruned.output_error or 0.0, not given, ())
    elif schedule == "cubic":
        done = _gradual(pruner, samples, options, seed, progress, not given)
    else:
        done = _one_shot(pruner, samples, options, seed, progress, not given)
    if options.pattern is not None and options.pattern.startswith(("rows", "columns")):
        done = _shrunk(done)
    if options.rearrange:
        done = dataclasses.replace(done, notes=(*moved, *done.notes), reshaped=True)
    progress(
        Event(
            "prune", done.pruned.rows[0].pattern, time.perf_counter() - start, detail=summary(done)
        )
    )
    return done


def joint_steps(steps: int) -> int:
    """Return how many steps of recovery a model that is pruned is left to learn quantized."""
    return steps // 4


def request_of(options: SparsityOptions, seed: int, data: bool) -> Request:
    """Fill in the defaults: with the user's data the inputs count, without only the weights."""
    return Request(
        sparsity=0.0 if options.budget is not None else options.sparsity,
        pattern=options.pattern or "16x1",
        criterion=options.criterion or ("second-order" if data else "magnitude"),
        allocation=options.allocation or "erk",
        keep_dense=options.keep_dense,
        densities=dict(options.densities),
        keep_diagonal=options.keep_diagonal,
        seed=seed,
    )


def summary(done: Compressed) -> str:
    """`361088 weights to 20.1%, output error -13.0 dB`, and whether the inputs were synthetic."""
    error = decibels(done.output_error)
    text = f"{done.pruned.weights} weights to {done.pruned.density:.1%}, output error {error}"
    return text + " (synthetic inputs: not accuracy-checked)" * done.synthetic


def decibels(error: float) -> str:
    """Return a relative squared error in decibels below the dense output."""
    return f"{10 * math.log10(error):.1f} dB" if error > 0 else "none"


def weight_masks(masks: dict[Matrix, Mask]) -> dict[str, Mask]:
    """Return masks by initializer, in the initializer's own shape."""
    whole: dict[str, Mask] = {}
    for matrix, mask in masks.items():
        shape = tuple(int(n) for n in matrix.weight.const_value.shape)
        full = whole.setdefault(str(matrix.weight.name), np.ones(shape, np.bool_))
        full.reshape(-1)[matrix.index] = mask
    return whole


def shortened(samples: Sequence[Sample], model: ir.Model) -> list[Sample]:
    """Take whole samples until there are `EVIDENCE_STEPS` steps, one at least."""
    taken: list[Sample] = []
    steps = 0
    for sample in samples:
        if taken and steps >= EVIDENCE_STEPS:
            break
        length = calibration.steps_of(sample, model)
        if length > EVIDENCE_STEPS and calibration.is_stepwise(model):
            sample = {name: array[:EVIDENCE_STEPS] for name, array in sample.items()}
        taken.append(sample)
        steps += length
    return taken


def _units(
    model: ir.Model,
    options: SparsityOptions,
    samples: Sequence[Sample],
    seed: int,
    progress: Progress,
    synthetic: bool,
) -> Compressed:
    """Silence whole units, let the others learn, and cut the silent ones out."""
    if options.budget is not None or options.rearrange or options.recover_schedule == "cubic":
        raise UsageError(
            f"pattern {options.pattern} goes with neither --budget, --rearrange nor the cubic "
            "schedule",
            why="units are chosen at once and one by one, the cost table is of sparse matrices",
            fix="--sparsity, and --recover-schedule one-shot",
        )
    dense, start = model.clone(), time.perf_counter()
    request = structured.with_defaults(request_of(options, seed, not synthetic), options.allocation)
    pruned, evidence = structured.prune(model, request, shortened(samples, model), _sayer(progress))
    notes: tuple[str, ...] = ()
    if options.recover:
        model, notes = _recover_fixed(model, pruned.masks, samples, options, seed, progress, dense)
    after = Evidence(model, [], evidence.samples)
    after.dense_outputs = evidence.dense_outputs
    done = _shrunk(Compressed(model, pruned, after.output_error(), synthetic, notes))
    seconds = time.perf_counter() - start
    progress(Event("prune", pruned.rows[0].pattern, seconds, detail=summary(done)))
    return done


def _shrunk(done: Compressed) -> Compressed:
    """Cut out of the model what is multiplied by zero wherever it goes."""
    records = pipeline.prepare(done.model, passes=pipeline.AFTER_PRUNING).records
    notes = (*done.notes, *(note for record in records for note in record.notes))
    reshaped = any(record.modified for record in records)
    return dataclasses.replace(done, notes=notes, reshaped=reshaped)


def _recover_fixed(
    model: ir.Model,
    masks: dict[Matrix, Mask],
    samples: Sequence[Sample],
    options: SparsityOptions,
    seed: int,
    progress: Progress,
    dense: ir.Model,
) -> tuple[ir.Model, tuple[str, ...]]:
    """Let what the masks keep learn; return the model, and what the user should know."""
    from edgeseq.train.recover import looks, recover

    done = recover(
        model,
        weight_masks(masks),
        samples,
        options.recover,
        teacher=dense,
        seed=seed,
        progress=looks(progress),
        checkpoint_file=options.checkpoint,
    )
    stopped = () if done.stopped == "done" else (f"recovery stopped: {done.stopped}",)
    return done.model, (*done.notes, *stopped)


def _within_budget(
    pruner: Pruner,
    samples: Sequence[Sample],
    options: SparsityOptions,
    cost_table: Path | None,
    dense_seconds: Callable[[ir.Model], float] | None,
    seed: int,
    progress: Progress,
    synthetic: bool,
) -> Compressed:
    """Prune as little as the time allows, then let what stays learn."""
    from edgeseq.lower import costs
    from edgeseq.train import budget

    dense = pruner.model.clone() if options.recover else pruner.model
    met = budget.meet(pruner, costs.load(cost_table), options.budget or "", dense_seconds)
    pruned = pruner.result(met.masks, pruner.evidence.output_error())
    if options.recover:
        made = _recover_all(pruner, pruned, samples, options, seed, progress, dense, synthetic)
        return dataclasses.replace(made, notes=(met.note, *made.notes))
    error = pruned.output_error or 0.0
    return Compressed(pruner.model, pruned, error, synthetic, (met.note,))


def _gradual(
    pruner: Pruner,
    samples: Sequence[Sample],
    options: SparsityOptions,
    seed: int,
    progress: Progress,
    synthetic: bool,
) -> Compressed:
    """Prune along the cubic schedule while the weights learn, from dense to the densities asked."""
    from edgeseq.train.recover import looks, recover
    from edgeseq.train.targets import Gradual, Part

    densities = pruner.allocate(pruner.scores())
    parts = [
        Part(str(m.weight.name), m.index, pruner.patterns[m], density, m.taps)
        for m, density in densities.items()
    ]
    share = options.allocation is None and not options.densities
    done = recover(
        pruner.model,
        Gradual(parts, share),
        samples,
        options.recover,
        seed=seed,
        progress=looks(progress),
        checkpoint_file=options.checkpoint,
    )
    return _finished(pruner, done, synthetic)


def _one_shot(
    pruner: Pruner,
    samples: Sequence[Sample],
    options: SparsityOptions,
    seed: int,
    progress: Progress,
    synthetic: bool,
) -> Compressed:
    """Prune at once, then let the weights that stay learn."""
    dense = pruner.model.clone()
    pruned = pruner.run()
    return _recover_all(pruner, pruned, samples, options, seed, progress, dense, synthetic)


def _recover_all(
    pruner: Pruner,
    pruned: Pruned,
    samples: Sequence[Sample],
    options: SparsityOptions,
    seed: int,
    progress: Progress,
    dense: ir.Model,
    synthetic: bool,
) -> Compressed:
    """Let the weights that stay learn what the dense model does."""
    from edgeseq.train.recover import looks, recover

    done = recover(
        pruner.model,
        weight_masks(pruned.masks),
        samples,
        options.recover,
        teacher=dense,
        seed=seed,
        progress=looks(progress),
        checkpoint_file=options.checkpoint,
    )
    return _finished(pruner, done, synthetic)


def _finished(pruner: Pruner, done: Any, synthetic: bool) -> Compressed:
    """Describe a recovered model by the matrices of its own."""
    found = {(str(m.weight.name), m.name): m for m in prunable.find(done.model)}
    masks = {}
    for matrix in pruner.patterns:
        own = found[str(matrix.weight.name), matrix.name]
        masks[matrix] = done.masks[str(matrix.weight.name)].reshape(-1)[matrix.index]
        if own.get()[~masks[matrix]].any():
            raise AssertionError(f"recovery moved pruned weights of {matrix.name}")
    for pattern in dict.fromkeys(pruner.patterns.values()):
        marked = [
            found[str(m.weight.name), m.name] for m, p in pruner.patterns.items() if p == pattern
        ]
        prunable.mark(marked, pattern)
    after = Evidence(done.model, [], pruner.evidence.samples)
    after.dense_outputs = pruner.evidence.dense_outputs
    error = after.output_error()
    stopped = () if done.stopped == "done" else (f"recovery stopped: {done.stopped}",)
    notes = (*done.notes, *stopped)
    return Compressed(done.model, pruner.result(masks, error), error, synthetic, notes)


def _schedule(options: SparsityOptions) -> str:
    """Return the schedule asked for; a chosen criterion is for pruning at once."""
    one_shot = options.criterion is not None or options.keep_diagonal
    name = options.recover_schedule or ("one-shot" if one_shot else "cubic")
    if name not in SCHEDULES:
        raise UsageError(f"unknown recovery schedule '{name}'", fix=hint(name, SCHEDULES))
    if name == "cubic" and one_shot:
        raise UsageError(
            "the cubic schedule takes neither a criterion nor --keep-diagonal",
            why="it prunes what moves the outputs least while the weights learn",
            fix="--recover-schedule one-shot",
        )
    if options.budget is not None and options.sparsity is not None:
        raise UsageError(
            "--budget does not go with --sparsity",
            why="it finds the densities itself",
            fix="leave one out",
        )
    if options.budget is not None and options.recover_schedule == "cubic":
        raise UsageError(
            "--budget does not go with the cubic schedule",
            why="it prunes at once, to the densities that it finds",
            fix="--recover-schedule one-shot, or none",
        )
    if options.recover < 0:
        raise UsageError(f"--recover {options.recover} is negative", why="it is a number of steps")
    return name


def _sayer(progress: Progress) -> Callable[[str], None]:
    began = [time.perf_counter()]

    def say(text: str) -> None:
        now = time.perf_counter()
        progress(Event("prune", "", now - began[0], detail=text, changed=False))
        began[0] = now

    return say
