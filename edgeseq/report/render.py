"""Fills the template of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2

from edgeseq.validate.compare import tolerance
from edgeseq.validate.render import describe

if TYPE_CHECKING:
    from edgeseq.pipeline import PassRecord
    from edgeseq.validate.finding import Verdict


def render(
    manifest: Mapping[str, Any],
    records: Sequence[PassRecord] = (),
    verdicts: Sequence[Verdict] = (),
    timings: Mapping[str, float] | None = None,
    sections: Sequence[str] = (),
) -> str:
    """Return the page: self-contained HTML without scripts.

    Args:
        manifest: Contents of manifest.json.
        records: What each pass did; without them the manifest's list is shown, without seconds.
        verdicts: Results of `validate.check`, one per target.
        timings: Seconds by stage of the compilation.
        sections: Further parts of the page, as HTML, after the numbers.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"size": size, "shape": _shape, "number": _number}
    text = resources.files("edgeseq.report").joinpath("report.html.j2").read_text("utf-8")
    return environment.from_string(text).render(
        m=manifest,
        passes=[_pass(r) for r in records] or manifest["passes"],
        numbers=_numbers(manifest["verify"]),
        verdicts=verdicts,
        timings=timings or {},
        sections=sections,
        describe=describe,
    )


def size(count: float) -> str:
    """`71744 -> 71.7 kB`; kilo is 1000."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _shape(shape: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _number(value: float) -> str:
    return f"{value:.2g}"


def _pass(record: PassRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "seconds": record.seconds,
        "nodes_before": record.nodes_before,
        "nodes_after": record.nodes_after,
        "modified": record.modified,
        "notes": list(record.notes),
        "refusals": [str(refusal) for refusal in record.refusals],
    }


def _numbers(verify: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row per output and state: range, error of float32 and what is allowed."""
    return [
        {"name": name, "kind": kind, **limits, "allowed": tolerance(limits)}
        for kind, section in (("output", "outputs"), ("state", "states"))
        for name, limits in verify.get(section, {}).items()
    ]
