"""Prune a model: find its matrices, share the density out, choose what stays, zero the rest."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.errors import UsageError
from edgeseq.ir import filter_banks
from edgeseq.ir.patterns import Mask, Pattern
from edgeseq.registry import hint
from edgeseq.train import allocation, prunable
from edgeseq.train.calibration import Sample
from edgeseq.train.criteria import Criterion, criterion
from edgeseq.train.evidence import Evidence
from edgeseq.train.fit import fit
from edgeseq.train.prunable import CONVOLUTION, LINEAR, RECURRENT, Matrix, Skipped

Array = npt.NDArray[Any]
Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asks for.

    Args:
        sparsity: Share of the weights, in the matrices that are pruned, that become zero; None is
            what the pattern prescribes (N:M). 0 leaves everything dense.
        pattern: How the zeros are arranged.
        criterion: A name of `criteria.CRITERIA`.
        allocation: A name of `allocation.NAMES`.
        keep_dense: Names or globs of weights that are left alone.
        densities: Name or glob -> the density of these matrices; the others make up for it.
        keep_diagonal: Never prune the groups on the diagonal of a square recurrent matrix.
        seed: Of everything random.
    """

    sparsity: float | None = None
    pattern: str = "16x1"
    criterion: str = "magnitude"
    allocation: str = "uniform"
    keep_dense: tuple[str, ...] = ()
    densities: Mapping[str, float] = dataclasses.field(default_factory=dict)
    keep_diagonal: bool = False
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of one matrix."""

    name: str
    kind: str
    outputs: int
    inputs: int
    pattern: str
    density: float
    note: str


@dataclasses.dataclass(frozen=True)
class Pruned:
    """The result.

    Args:
        masks: What was kept; recovery holds the rest at zero.
        rows: One per matrix.
        skipped: Weights that stayed dense, and why.
        weights: Weights in the pruned matrices.
        kept: Those that stayed.
        output_error: Relative squared error of the worst output on the samples; None without any.
    """

    masks: dict[Matrix, Mask]
    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]
    weights: int
    kept: int
    output_error: float | None

    @property
    def density(self) -> float:
        """Share of the weights that stayed."""
        return self.kept / self.weights


def prune(
    model: ir.Model,
    request: Request,
    samples: Sequence[Sample] = (),
    progress: Progress | None = None,
) -> Pruned:
    """Prune a model in place.

    Args:
        model: Its sizes bound and its states marked, where samples are given.
        request: What to do.
        samples: Calibration samples; criteria and allocations that need none ignore them.
        progress: Called with one line about each stage.

    Raises:
        UsageError: a density, pattern or name that does not fit, or nothing to prune.
    """
    return Pruner(model, request, samples, progress).run()


class Pruner:
    """One pruning, its stages open to those who repeat one (iterative schedules).

    Args:
        model: The model; matrices hold their weights in it.
        request: What to do.
        samples: Calibration samples.
        progress: Called with one line about each stage.
    """

    def __init__(
        self,
        model: ir.Model,
        request: Request,
        samples: Sequence[Sample] = (),
        progress: Progress | None = None,
    ) -> None:
        allocation.check(request.allocation)
        self.model, self.request = model, request
        self._say = progress or (lambda _: None)
        self._criterion: Criterion = criterion(request.criterion)
        self._pattern = Pattern.parse(request.pattern)
        self._density = _density(request.sparsity, self._pattern)
        found, skipped = prunable.survey(model)
        self.skipped = list(skipped)
        self.notes: dict[Matrix, str] = {}
        self.patterns = self._fit(found)
        if not self.patterns:
            raise UsageError(
                "nothing to prune",
                at=[f"{s.name}: {s.reason}" for s in self.skipped[:8]],
                why=f"no constant weight of the model takes the pattern {self._pattern}",
                fix="a finer pattern (--pattern 4x1, unstructured), or fewer --keep-dense",
            )
        self.evidence = Evidence(model, list(self.patterns), samples, request.seed)
        if samples:
            _ = self.evidence.dense_outputs  # before anything is pruned

    def run(self) -> Pruned:
        """Score, allocate, prune and measure."""
        scores = self.scores()
        self._say(f"scored {len(scores)} matrices by {self.request.criterion}")
        densities = self.allocate(scores)
        masks = self.apply(scores, densities)
        self._say(f"pruned {len(masks)} matrices to {self._pattern}")
        error = self.evidence.output_error() if self.evidence.samples else None
        return self.result(masks, error)

    def scores(self) -> dict[Matrix, Array]:
        """Score every entry; the diagonal of recurrent matrices may be out of reach."""
        scores = self._criterion.scores(self.evidence)
        if not self.request.keep_diagonal:
            return scores
        return {m: _protect_diagonal(m, s) for m, s in scores.items()}

    def allocate(
        self, scores: Mapping[Matrix, Array], sparsity: float | None = None
    ) -> dict[Matrix, float]:
        """Return the density of every matrix; what the user named comes first.

        Args:
            scores: As `scores` returned them.
            sparsity: Instead of the request's.
        """
        density = self._density if sparsity is None else _density(sparsity, self._pattern)
        fixed = self._named_densities()
        matrices = [m for m in self.patterns if m not in fixed]
        budget = density * sum(m.size for m in self.patterns)
        budget -= sum(d * m.size for m, d in fixed.items())
        pool = sum(m.size for m in matrices)
        if matrices and budget <= 0:
            raise UsageError(
                f"the densities given by name use up a density of {density:g}",
                why=f"nothing is left for the other {len(matrices)} matrices",
                fix="lower them, or ask for less sparsity",
            )
        if not matrices:
            return fixed
        share = min(1.0, budget / pool)
        return fixed | self._share_out(matrices, share, scores)

    def apply(
        self, scores: Mapping[Matrix, Array], densities: Mapping[Matrix, float]
    ) -> dict[Matrix, Mask]:
        """Prune every matrix to its density and mark the weights."""
        masks = {}
        for matrix, density in densities.items():
            pattern, score = self.patterns[matrix], scores[matrix]
            mask, weights = self._criterion.prune(matrix, score, pattern, density, self.evidence)
            if np.isinf(score[~mask]).any():
                raise UsageError(
                    f"density {density:g} of '{matrix.name}' is too low to keep its diagonal",
                    fix="less sparsity, a finer pattern, or no --keep-diagonal",
                )
            masks[matrix] = mask
            matrix.set(weights)
        for pattern in dict.fromkeys(self.patterns.values()):
            prunable.mark([m for m, p in self.patterns.items() if p == pattern], pattern)
        return masks

    def result(self, masks: Mapping[Matrix, Mask], error: float | None) -> Pruned:
        """Describe what was done."""
        rows = tuple(
            Row(
                m.name,
                m.kind,
                *m.shape,
                self.patterns[m].text,
                round(float(mask.mean()), 6),
                self.notes[m],
            )
            for m, mask in masks.items()
        )
        kept = sum(int(mask.sum()) for mask in masks.values())
        weights = sum(m.size for m in masks)
        return Pruned(dict(masks), rows, tuple(self.skipped), weights, kept, error)

    def _fit(self, found: Sequence[Matrix]) -> dict[Matrix, Pattern]:
        known = [m.name for m in found] + [m.weight.name for m in found]
        for name in (*self.request.keep_dense, *self.request.densities):
            if not any(matches(name, m) for m in found):
                raise UsageError(f"no weight matrix '{name}'", fix=hint(name, set(known)))
        patterns = {}
        for matrix in found:
            if any(matches(name, matrix) for name in self.request.keep_dense):
                self.skipped.append(Skipped(matrix.name, "kept dense on request"))
                continue
            bank = filter_banks.kind(matrix.get()) if matrix.kind in (LINEAR, CONVOLUTION) else None
            if bank and not any(matches(name, matrix) for name in self.request.densities):
                self.skipped.append(Skipped(matrix.name, f"it is {bank}, not learnt"))
                continue
            fitted = fit(self._pattern, matrix)
            if isinstance(fitted, Skipped):
                self.skipped.append(fitted)
            else:
                patterns[matrix], self.notes[matrix] = fitted.pattern, fitted.note
        return patterns

    def _named_densities(self) -> dict[Matrix, float]:
        named: dict[Matrix, float] = {}
        for name, density in self.request.densities.items():
            if not 0 < density <= 1:
                raise UsageError(
                    f"density {density:g} of '{name}' is outside (0, 1]",
                    why="a density is the share of weights that stay",
                )
            named |= {m: density for m in self.patterns if matches(name, m)}
        return named

    def _share_out(
        self, matrices: list[Matrix], share: float, scores: Mapping[Matrix, Array]
    ) -> dict[Matrix, float]:
        name = self.request.allocation
        own = self._pattern.fixed_density
        if share == 1:
            return dict.fromkeys(matrices, 1.0)
        if own is not None:
            return dict.fromkeys(matrices, own)
        if name in allocation.BY_SHAPE:
            return allocation.by_shape(name, matrices, share)
        if name == "sensitivity":
            return self._by_sensitivity(matrices, share, scores)
        if name == "snip":
            scores = criterion("gradient").scores(self.evidence)
        elif not self._criterion.comparable:
            scores = allocation.within_layers(matrices, scores)
        return allocation.by_score(matrices, self.patterns, scores, share)

    def _by_sensitivity(
        self, matrices: list[Matrix], share: float, scores: Mapping[Matrix, Array]
    ) -> dict[Matrix, float]:
        layers = allocation.layers(matrices)
        sizes = {first: sum(m.size for m in parts) for first, parts in layers.items()}
        chosen = allocation.cheapest(
            self.sensitivity(layers, scores),
            lambda m, d: d * sizes[m],
            share * sum(sizes.values()),
            "a number of weights",
        )
        # The grid is coarse: what is left of the budget goes to all that are not dense.
        shares = allocation.scaled(list(chosen.values()), [sizes[m] for m in chosen], share)
        by_layer = dict(zip(chosen, shares, strict=True))
        return {m: by_layer[first] for first, parts in layers.items() for m in parts}

    def sensitivity(
        self,
        layers: Mapping[Matrix, Sequence[Matrix]],
        scores: Mapping[Matrix, Array],
        grid: Sequence[float] = allocation.GRID,
    ) -> dict[Matrix, dict[float, float]]:
        """Measure the model's output error with one layer pruned at a time."""
        _ = self.evidence.dense_outputs
        found: dict[Matrix, dict[float, float]] = {}
        for first, parts in layers.items():
            dense = {m: m.get() for m in parts}
            found[first] = {}
            for density in grid:
                for matrix in parts:
                    pattern = self.patterns[matrix]
                    mask = pattern.mask(scores[matrix], density, matrix.taps)
                    matrix.set(np.where(mask, dense[matrix], 0))
                found[first][density] = self.evidence.output_error()
            for matrix, weights in dense.items():
                matrix.set(weights)
            self._say(f"sensitivity of {first.name}: {found[first][grid[-1]]:.2g} at {grid[-1]:g}")
        return found


def matches(name: str, matrix: Matrix) -> bool:
    """Whether a name or glob means this matrix: by the user's name, with or without the gate."""
    whole = matrix.name.partition("[")[0] if matrix.name.endswith("]") else matrix.name
    names = {matrix.name, whole, str(matrix.weight.name)}
    # `[z]` is a gate here, not a set of letters.
    glob = name.replace("[", "[[]")
    return name in names or any(fnmatch.fnmatchcase(n, glob) for n in names)


def _protect_diagonal(matrix: Matrix, scores: Array) -> Array:
    if matrix.kind != RECURRENT or matrix.shape[0] != matrix.shape[1]:
        return scores
    protected = scores.astype(np.float64)
    np.fill_diagonal(protected, np.inf)
    return protected


def _density(sparsity: float | None, pattern: Pattern) -> float:
    own = pattern.fixed_density
    if sparsity is None:
        if own is None:
            raise UsageError(
                f"pattern {pattern} needs a sparsity", fix="for example --sparsity 0.9"
            )
        return own
    if not 0 <= sparsity < 1:
        raise UsageError(
            f"sparsity {sparsity:g} is outside [0, 1)",
            why="it is the share of the weights that become zero",
            fix="--sparsity 0.9 keeps one in ten",
        )
    if own is not None and sparsity and abs(1 - sparsity - own) > 1e-6:
        raise UsageError(
            f"pattern {pattern} has sparsity {1 - own:g}, not {sparsity:g}",
            fix="leave --sparsity out, or choose another pattern",
        )
    return 1 - sparsity
