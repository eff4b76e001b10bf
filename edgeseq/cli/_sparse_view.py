"""What `inspect` shows of sparse weights: density and pattern, a picture of the blocks, a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseq.cli import _output

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from edgeseq.train.prunable import Matrix

_SHADES = " ░▒▓█"  # of a cell: none of its blocks stored ... all of them
_WIDE, _HIGH = 64, 16  # cells of a picture


def rows(model: ir.Model) -> list[dict[str, Any]]:
    """Describe every matrix that has zeros enough to matter."""
    from edgeseq.train import prunable

    return [row for m in prunable.find(model) if (row := _row(m))["density"] < 0.95]


def show(found: list[dict[str, Any]]) -> None:
    """Print the table of sparse matrices."""
    head = ["sparse matrix", "outputs", "inputs", "pattern", "stored", "non-zero"]
    keys = ["name", "outputs", "inputs", "pattern", "stored", "density"]
    _output.table(head, [[row[key] for key in keys] for row in found])


def pictures(model: ir.Model) -> Iterator[str]:
    """Draw the groups of every sparse matrix, outputs down, inputs across."""
    from edgeseq.ir.patterns import Pattern
    from edgeseq.train import prunable

    for matrix in prunable.find(model):
        row = _row(matrix)
        if row["density"] >= 0.95:
            continue
        pattern = Pattern.parse(row["pattern"])
        stored = pattern.gather((matrix.get() != 0).astype(float), matrix.taps) > 0
        yield f"{matrix.name}  {row['pattern']}  {row['stored']:.1%} stored"
        yield from (f"  {line}" for line in _draw(stored.astype(float)))
        yield ""


def analyse(model: ir.Model, pattern: str, calibrate: tuple[str, ...], plot: Path | None) -> None:
    """Print a one-shot sweep with its knee, and what each layer alone costs."""
    from edgeseq.train import analysis, calibration, compress
    from edgeseq.train.pruning import Request

    given = calibration.load(calibrate, model)
    samples = compress.shortened(given or calibration.synthetic(model), model)
    request = Request(
        pattern=pattern,
        criterion="second-order" if given else "magnitude",
        allocation="erk",
    )
    sweeps = analysis.sweep(model, request, samples)
    where = "the samples" if given else "synthetic inputs: not accuracy-checked"
    click.echo(f"output error, pruned at once to {pattern} ({where})\n")
    table = [
        [f"{point:.0%}", *(compress.decibels(s.errors[place]) for s in sweeps)]
        for place, point in enumerate(sweeps[0].sparsities)
    ]
    _output.table(["sparsity", *(s.criterion for s in sweeps)], table)
    for sweep in sweeps[:1]:
        text = "no knee" if sweep.knee is None else f"knee at {sweep.knee:.0%}"
        click.echo(f"{sweep.criterion}: {text}\n")
    layers = analysis.sensitivities(model, request, samples)
    grid = list(next(iter(layers.values())))
    body = [[name, *(compress.decibels(e[d]) for d in grid)] for name, e in layers.items()]
    _output.table(["pruned alone", *(f"to {d:.0%}" for d in grid)], body)
    if plot is not None:
        from edgeseq.report.sweep_plot import svg

        lines = {s.criterion: list(zip(s.sparsities, s.errors, strict=True)) for s in sweeps}
        plot.write_text(svg(lines), encoding="utf-8")


def _row(matrix: Matrix) -> dict[str, Any]:
    from edgeseq.ir import facts
    from edgeseq.ir.patterns import Pattern, detect

    weights = matrix.get()
    fact = facts.get(matrix.weight, facts.Sparsity)
    if fact is None:
        pattern, stored = detect(weights, matrix.taps)
    else:
        pattern = Pattern.parse(fact.pattern)
        stored = pattern.stored(weights, matrix.taps)
    return {
        "name": matrix.name,
        "outputs": matrix.shape[0],
        "inputs": matrix.shape[1],
        "pattern": pattern.text,
        "stored": round(stored, 4),
        "density": round(float((weights != 0).mean()), 4),
    }


def _draw(stored: np.ndarray[Any, Any]) -> Iterator[str]:
    """Average the groups in cells, one character each."""
    import numpy as np

    for band in np.array_split(stored, min(_HIGH, stored.shape[0]), axis=0):
        cells = np.array_split(band.mean(axis=0), min(_WIDE, stored.shape[1]))
        levels = [int(np.ceil(cell.mean() * (len(_SHADES) - 1))) for cell in cells]
        yield "".join(_SHADES[level] for level in levels)
