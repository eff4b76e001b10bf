"""How `edgeseq bench kernels` shows what it measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from edgeseq.cli import _machine, _output

if TYPE_CHECKING:
    from edgeseq.bench.harness import Spread
    from edgeseq.bench.suite.run import Row

HEAD = (
    *("case", "kernel", "us", "p10 - p90", "p99", "cold us"),
    *("peer", "peer us", "cold us", "faster by", "asked for", "of the bandwidth"),
)


def show(rows: Sequence[Row], overhead: Spread | None, versions: Mapping[str, str]) -> None:
    """Print the table, what is missing, and what it was measured with."""
    _output.table(HEAD, [_cells(r) for r in rows if not r.missing])
    for row in rows:
        if row.missing:
            click.echo(f"{row.case} against {row.peer or 'the bandwidth'}: {row.missing}")
    met = [r.reached for r in rows if r.reached is not None]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    empty = "" if overhead is None else f"an empty call of ONNX Runtime takes {overhead} us; "
    click.echo(
        f"{sum(met)} of {len(met)} reach what is asked for; one thread, batch 1, states carried\n"
        f"{empty}{listed}\n{_machine.processor()}"
    )


def as_json(
    rows: Sequence[Row], overhead: Spread | None, versions: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything as one JSON object."""
    return {
        "cases": [{**dataclasses.asdict(row), "reached": row.reached} for row in rows],
        "onnxruntime_empty_call": overhead and dataclasses.asdict(overhead),
        "versions": dict(versions),
        "machine": dict(_machine.machine()),
    }


def _cells(row: Row) -> tuple[Any, ...]:
    assert row.ratio is not None
    ours = row.microseconds["edgeseq"]
    theirs = row.microseconds.get(row.peer)
    unit = "x" if row.peer else ""
    return (
        row.case,
        f"{row.kernel} {row.isa}",
        f"{ours.median:.2f}",
        f"{ours.p10:.2f} - {ours.p90:.2f}",
        f"{row.latency['edgeseq'].p99:.2f}",
        _cold(row, "edgeseq"),
        row.peer or "read bandwidth",
        "" if theirs is None else f"{theirs.median:.2f}",
        _cold(row, row.peer),
        f"{row.ratio.median:.3g}{unit} ({row.ratio.p10:.3g} - {row.ratio.p90:.3g})",
        f"{row.least:g}{unit}{'' if row.reached else ' missed'}" if row.least else "",
        f"{row.bandwidth:.0%}" if row.bandwidth else "",
    )


def _cold(row: Row, side: str) -> str:
    return f"{row.cold[side].median:.1f}" if side in row.cold else ""
