"""The report's section on pruning: density of each matrix, the sweep with its knee, each layer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

import jinja2

from edgeseq.report.sweep_plot import svg
from edgeseq.train.compress import Compressed, decibels

if TYPE_CHECKING:
    from edgeseq.train.analysis import Study, Sweep


def section(done: Compressed, study: Study | None) -> str:
    """Return the section as HTML.

    Args:
        done: The pruned model.
        study: What its pattern costs the dense model; None where whole units went.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"decibels": decibels, "percent": _percent}
    text = resources.files("edgeseq.report").joinpath("sparsity.html.j2").read_text("utf-8")
    sweeps: Sequence[Sweep] = study.sweeps if study else ()
    return environment.from_string(text).render(
        done=done, study=study, plot=plot(sweeps), densities=_densities(study)
    )


def plot(sweeps: Sequence[Sweep]) -> str:
    """Draw the sweeps; nothing where a pattern has no other density than its own."""
    lines = {s.criterion: list(zip(s.sparsities, s.errors, strict=True)) for s in sweeps}
    knees = {s.criterion: s.knee for s in sweeps[:1] if s.knee is not None}
    return svg(lines, knees) if any(len(line) > 1 for line in lines.values()) else ""


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _densities(study: Study | None) -> list[float]:
    return list(next(iter(study.layers.values()))) if study and study.layers else []
