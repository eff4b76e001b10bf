"""Whole units go: neurons, channels, attention heads, units of recurrences, and all tied to them.

What belongs together says `ir/channels.py`; here it is scored, chosen and set to zero: the rows
that compute a unit and the columns that read it, in all weights. The pass `shrink-units` then cuts
it out. The sparsity asked for is that of the weights: of a square matrix fewer units go than that.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.errors import UsageError
from edgeseq.ir import channels
from edgeseq.ir.channels import Channels
from edgeseq.ir.patterns import Mask
from edgeseq.ir.ties import Axis
from edgeseq.registry import hint
from edgeseq.train import prunable, trajectory
from edgeseq.train.calibration import Sample
from edgeseq.train.criteria import CRITERIA, criterion
from edgeseq.train.evidence import Evidence
from edgeseq.train.prunable import CONVOLUTION, Matrix, Skipped
from edgeseq.train.pruning import Pruned, Request, Row, matches

Array = npt.NDArray[Any]
Layers = dict[Axis, Array]

PATTERNS = ("units", "channels")  # channels: units that a convolution computes
ALLOCATIONS = ("uniform", "global")


def prune(
    model: ir.Model,
    request: Request,
    samples: Sequence[Sample] = (),
    progress: Callable[[str], None] | None = None,
) -> tuple[Pruned, Evidence]:
    """Set the rows and columns of the least important units to zero, in place.

    Args:
        model: Its sizes bound and its states marked.
        request: The pattern is one of `PATTERNS`; `uniform` takes the same share of the units of
            every layer, `global` ranks all by what they are worth in their layer.
        samples: Calibration samples; criteria that need none ignore them.
        progress: Called with one line about each stage.

    Raises:
        UsageError: a number or name that does not fit, or nothing to prune.
    """
    _check(request)
    found = channels.find(model)
    matrices, skipped = prunable.survey(model)
    layers = _layers(found, matrices, request)
    if not layers:
        raise UsageError(
            f"there are no {request.pattern} to remove",
            at=[f"{axis.value.name}: {why}" for axis, why in list(found.why.items())[:8]],
            why="what is left out of one value must be left out of all that it is combined with",
            fix="another pattern, for example --pattern 16x1",
        )
    cut = _touched(found, layers)
    pruned = [m for m in matrices if m.weight in cut]
    evidence = Evidence(model, pruned, samples, request.seed)
    if samples:
        _ = evidence.dense_outputs  # before anything is pruned
    scores = _scores(found, layers, evidence, request.criterion)
    if progress is not None:
        progress(f"scored {sum(map(len, layers.values()))} units by {request.criterion}")
    assert request.sparsity is not None
    order = _order(layers, scores, request.allocation)
    dead = order[: _count(found, cut, order, 1 - request.sparsity)]
    masks = _zero(found, pruned, dead)
    rest = [m for m in matrices if m not in masks]
    reasons = {str(axis.value.name): why for axis, why in found.why.items()}
    skipped += [
        Skipped(m.name, reasons.get(str(m.weight.name), "kept dense on request, or not among them"))
        for m in rest
    ]
    error = evidence.output_error() if samples else None
    return _described(masks, skipped, request.pattern, error), evidence


def _check(request: Request) -> None:
    if request.sparsity is None or not 0 <= request.sparsity < 1:
        raise UsageError(
            f"pattern {request.pattern} needs a sparsity in [0, 1)",
            fix="for example --sparsity 0.5",
        )
    if request.allocation not in ALLOCATIONS:
        raise UsageError(
            f"allocation '{request.allocation}' is not for whole units",
            fix=hint(request.allocation, ALLOCATIONS),
        )
    if request.densities or request.keep_diagonal:
        raise UsageError(
            "whole units take neither --density nor --keep-diagonal",
            why="a unit has a row in some weights and a column in others",
            fix="--keep-dense NAME leaves the units of a weight alone",
        )
    known = (*CRITERIA, trajectory.NAME)
    if request.criterion not in known:
        raise UsageError(
            f"unknown criterion '{request.criterion}'", fix=hint(request.criterion, known)
        )


def _layers(found: Channels, matrices: Sequence[Matrix], request: Request) -> Layers:
    """Return the units of each layer that may go, one of it at least staying."""
    for name in request.keep_dense:
        if not any(matches(name, m) for m in matrices):
            known = {m.name for m in matrices} | {str(m.weight.name) for m in matrices}
            raise UsageError(f"no weight matrix '{name}'", fix=hint(name, known))
    held = {m.weight for m in matrices if any(matches(n, m) for n in request.keep_dense)}
    kept = [one for axis, one in found.numbers.items() if axis.value in held]
    convolutions = {m.weight for m in matrices if m.kind == CONVOLUTION}
    layers = {}
    for axis, numbers in found.layers().items():
        if request.pattern == "channels" and axis.value not in convolutions:
            continue
        free = np.setdiff1d(numbers, np.concatenate([[0], *kept]))
        if len(free) > 1:
            layers[axis] = free
    return layers


def _touched(found: Channels, layers: Layers) -> dict[ir.Value, tuple[Axis, ...]]:
    """Return the weights that units have a row or a column in, and along which axes."""
    units = np.concatenate(list(layers.values()))
    touched: dict[ir.Value, tuple[Axis, ...]] = {}
    for axis in dict.fromkeys((*found.writes, *found.reads)):
        if np.isin(found.numbers[axis], units).any():
            touched[axis.value] = (*touched.get(axis.value, ()), axis)
    return touched


def _scores(found: Channels, layers: Layers, evidence: Evidence, name: str) -> Array:
    """Return the score of each unit, by its number."""
    if name == trajectory.NAME:
        return trajectory.scores(found, np.concatenate(list(layers.values())), evidence)
    by_weight: dict[ir.Value, Array] = {}
    for matrix, scores in criterion(name).scores(evidence).items():
        whole = np.zeros(channels.data(matrix.weight).shape)
        whole = by_weight.setdefault(matrix.weight, whole)
        whole.reshape(-1)[matrix.index] = scores / (scores.mean() or 1)
    total = np.zeros(1 + max(int(one.max(initial=0)) for one in found.numbers.values()))
    entries = np.zeros_like(total)
    for axis in (*found.writes, *found.reads):
        if axis.value in by_weight:
            lines = np.moveaxis(by_weight[axis.value], axis.number, 0)
            lines = lines.reshape(len(lines), -1)
            np.add.at(total, found.numbers[axis], lines.sum(axis=1))
            np.add.at(entries, found.numbers[axis], lines.shape[1])
    return np.asarray(total / np.maximum(entries, 1))


def _order(layers: Layers, scores: Array, allocation: str) -> Array:
    """Return the units, those to go first first; the best of each layer is not among them."""
    units, ranks = [], []
    for numbers in layers.values():
        own = scores[numbers]
        ascending = np.argsort(own, kind="stable")[:-1]
        units.append(numbers[ascending])
        if allocation == "uniform":
            ranks.append((np.arange(len(ascending)) + 1) / len(numbers))
        else:
            ranks.append(own[ascending] / (own.mean() or 1))
    order = np.argsort(np.concatenate(ranks), kind="stable")
    return np.concatenate(units)[order]


def _count(
    found: Channels, cut: Mapping[ir.Value, tuple[Axis, ...]], order: Array, density: float
) -> int:
    """Return how many of the first units must go until that share of the weights is left."""
    shapes = {value: channels.data(value).shape for value in cut}
    total = sum(math.prod(shape) for shape in shapes.values())

    def left(count: int) -> int:
        dead, weights = order[:count], 0
        for value, axes in cut.items():
            sizes = list(shapes[value])
            for axis in axes:
                sizes[axis.number] = int((~np.isin(found.numbers[axis], dead)).sum())
            weights += math.prod(sizes)
        return weights

    least = left(len(order))
    if least > density * total:
        raise UsageError(
            f"a sparsity of {1 - density:g} cannot be reached by removing units",
            why=f"with one unit of each layer, {least / total:.1%} of their weights are left",
            fix="less sparsity, or a pattern such as 16x1",
        )
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if left(middle) > density * total else (low, middle)
    return low


def _zero(found: Channels, pruned: Sequence[Matrix], dead: Array) -> dict[Matrix, Mask]:
    """Clear the rows and columns of the units in every weight; return what is kept."""
    kept: dict[ir.Value, Mask] = {}
    for axis in (*found.writes, *found.reads):
        shape = channels.data(axis.value).shape
        line = ~np.isin(found.numbers[axis], dead)
        if line.all():
            continue
        mask = kept.setdefault(axis.value, np.ones(shape, np.bool_))
        mask &= line.reshape([-1 if n == axis.number else 1 for n in range(len(shape))])
    for value, mask in kept.items():
        full = np.where(mask, channels.data(value), 0).astype(channels.data(value).dtype)
        value.const_value = ir.tensor(full, name=value.name)
    whole: Mask = np.ones(1, np.bool_)
    return {
        m: kept[m.weight].reshape(-1)[m.index]
        if m.weight in kept
        else np.broadcast_to(whole, m.shape)
        for m in pruned
    }


def _described(
    masks: dict[Matrix, Mask], skipped: list[Skipped], pattern: str, error: float | None
) -> Pruned:
    rows = []
    for matrix, mask in masks.items():
        left = int(mask.any(axis=1).sum()), int(mask.any(axis=0).sum())
        note = f"shrinks to {left[0]} x {left[1]}"
        density = round(float(mask.mean()), 6)
        rows.append(Row(matrix.name, matrix.kind, *matrix.shape, pattern, density, note))
    weights, kept = sum(m.size for m in masks), sum(int(mask.sum()) for mask in masks.values())
    return Pruned(masks, tuple(rows), tuple(skipped), weights, kept, error)


def asked(pattern: str | None) -> bool:
    """Whether a pattern is one of whole units."""
    return pattern in PATTERNS


def with_defaults(request: Request, allocation: str | None) -> Request:
    """Whole units have allocations of their own."""
    return dataclasses.replace(request, allocation=allocation or "uniform")
