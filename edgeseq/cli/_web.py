"""`edgeseq bench model --target wasm`: the npm package in Node."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseq.cli import _output

if TYPE_CHECKING:
    from edgeseq.bench.web import WebReport


def run(
    dist: Path, against: str | None, peer: Path | None, rounds: int, steps: int, *, as_json: bool
) -> None:
    """Measure and print."""
    from edgeseq.bench.web import bench_web
    from edgeseq.cli import _machine

    report = bench_web(dist, against, peer=peer, rounds=rounds, calls=steps)
    if as_json:
        _output.print_json({**dataclasses.asdict(report), "machine": dict(_machine.machine())})
    else:
        _show(report, _machine.processor())


def _show(report: WebReport, processor: str) -> None:
    rows: list[tuple[Any, ...]] = []
    for side, spread in report.microseconds.items():
        ratio = report.ratio.get(side)
        rows.append(
            (
                side,
                f"{spread.median:.1f}",
                f"{spread.p10:.1f} - {spread.p90:.1f}",
                f"{report.p99[side]:.1f}",
                f"{report.start_ms[side].median:.1f} ms",
                f"{report.again_ms[side].median:.1f} ms",
                _output.size(report.bytes[side]),
                "" if ratio is None else f"{ratio.median:.1f}x ({ratio.p10:.1f} - {ratio.p90:.1f})",
                "" if ratio is None else f"{report.difference[side]:.1e}",
            )
        )
    head = [
        "",
        "us a step",
        "p10 - p90",
        "p99",
        "start",
        "again",
        "fetched",
        "edgeseq is faster by",
    ]
    _output.table([*head, "difference"], rows)
    versions = "".join(f", {name} {version}" for name, version in report.versions.items())
    peer = f", which ran {report.against}" if report.ratio else ""
    click.echo(
        f"{report.model} on wasm in Node {report.node}{versions}{peer}; "
        f"{report.rounds} rounds of {report.calls} steps by processor time; p99 and starts (to the "
        f"first output: fresh processes, then again) by the wall clock\n{processor}"
    )
    if report.processor_share < 0.95:
        click.echo(f"the machine was busy: a processor {report.processor_share:.0%} of the time")
