"""`edgeseq bench threads`: what threads gain."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from edgeseq.cli import _output


@click.command()
@click.argument("dist", type=click.Path(path_type=Path))
@click.option("--target", metavar="NAME", help="Default: this machine's.")
@click.option(
    "--rounds", type=click.IntRange(1), default=30, show_default=True, help="Interleaved rounds."
)
@click.option(
    "--steps", type=click.IntRange(1), default=200, show_default=True, help="Steps per round."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def threads(dist: Path, target: str | None, rounds: int, steps: int, as_json: bool) -> None:
    """Time DIST, compiled with --threads, with one thread and with more.

    All numbers of threads take turns, and have to agree in every bit. Times are those of the wall
    clock, so that the machine should do nothing else. The last column is what it takes until all
    threads are at work and known to be done: a layer pays it each time.
    """
    from edgeseq.bench.threads import bench_threads
    from edgeseq.cli import _machine

    report = bench_threads(dist, target, rounds, steps)
    if as_json:
        _output.print_json({**dataclasses.asdict(report), "machine": dict(_machine.machine())})
        return
    rows = []
    for n, spread in report.microseconds.items():
        ratio, fork = report.ratio.get(n), report.fork.get(n)
        rows.append(
            (
                n,
                f"{spread.median:.2f}",
                f"{spread.p10:.2f} - {spread.p90:.2f}",
                f"{report.latency[n].p99:.2f}",
                "" if ratio is None else f"{ratio.median:.2f}x ({ratio.p10:.2f} - {ratio.p90:.2f})",
                "" if fork is None else str(fork),
            )
        )
    unit = f"us a {report.call.split()[0]}"
    _output.table(["threads", unit, "p10 - p90", "p99", "faster by", "us of a fork"], rows)
    click.echo(
        f"{report.model} on {report.target}; a call is one {report.call}, {report.rounds} rounds "
        f"of {report.calls} calls, the same bits\n{_machine.processor()}"
    )
