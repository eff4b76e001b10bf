"""`edgeseq bench`: times, with both sides in one harness."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseq.cli import _output, _threads
from edgeseq.errors import UsageError

if TYPE_CHECKING:
    from edgeseq.bench import Report

BUSY = 0.95  # share of a processor below which other programs have disturbed the times


@click.group()
def bench() -> None:
    """Time a compiled model next to ONNX Runtime and PyTorch."""


@bench.command()
@click.argument("dist", type=click.Path(path_type=Path))
@click.option(
    "--against",
    metavar="MODEL",
    help="What it was compiled from, or another DIST; default: its model.onnx.",
)
@click.option("--target", metavar="NAME", help="Default: this machine's; wasm runs in Node.")
@click.option(
    "--peer",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With wasm: where npm has installed onnxruntime-web, to be timed beside it.",
)
@click.option(
    "--rounds", type=click.IntRange(1), default=30, show_default=True, help="Interleaved rounds."
)
@click.option(
    "--steps", type=click.IntRange(1), default=200, show_default=True, help="Steps per round."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def model(
    dist: Path,
    against: str | None,
    target: str | None,
    peer: Path | None,
    rounds: int,
    steps: int,
    as_json: bool,
) -> None:
    """Time DIST beside the model it was compiled from, or beside another DIST.

    One thread, batch as compiled. In every round each side takes its steps in turn, states fed
    back, on the inputs recorded in the artifact. The compiled library is called from C, ONNX
    Runtime through IOBinding. Times are processor time; single calls, p99 and those with cold
    caches, are timed by the wall clock.
    """
    if target == "wasm":
        from edgeseq.cli import _web

        _web.run(dist, against, peer, rounds, steps, as_json=as_json)
        return
    from edgeseq import bench as harness
    from edgeseq.cli import _machine

    report = harness.bench_model(dist, against, target=target, rounds=rounds, calls=steps)
    if as_json:
        _output.print_json({**dataclasses.asdict(report), "machine": dict(_machine.machine())})
    else:
        _show(report, _machine.processor())


@bench.command()
@click.option("--family", multiple=True, metavar="NAME", help="Only these, e.g. gru; repeatable.")
@click.option("--quick", is_flag=True, help="A third of the rounds: a look, not a measurement.")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Measure a cost table for `compile --cost-table` instead.",
)
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE.svg", help="Also draw the ratios."
)
@click.option(
    "--target",
    type=click.Choice(["wasm"]),
    help="Default: this machine's; wasm runs in Node, beside --peer.",
)
@click.option(
    "--peer",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With wasm: where npm has installed onnxruntime-web.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def kernels(
    family: tuple[str, ...],
    quick: bool,
    save: Path | None,
    plot: Path | None,
    target: str | None,
    peer: Path | None,
    as_json: bool,
) -> None:
    """Time the kernels on this machine beside other runtimes, on the same weights.

    A case is one layer: batch 1, one thread, states carried, inputs that are not zero. Both sides
    take turns, at least 30 times, and have to agree in their outputs. Our kernel is compiled as
    `compile` does it and called from C; times are processor time, those of single calls (p99, cold
    caches) wall-clock time. The last column is the memory read, as a share of what a plain loop
    reads from as much memory.
    """
    from edgeseq.cli import _kernels, _machine

    if target is not None and (save is not None or plot is not None or peer is None):
        raise UsageError(
            "--target wasm goes with --peer, and neither with --save nor with --plot",
            why="its kernels are timed beside onnxruntime-web alone",
            fix="npm install --prefix DIR onnxruntime-web, and add --peer DIR",
        )
    if save is not None:
        _save(save, family, quick=quick)
        return
    from edgeseq.bench.suite import plot as drawing
    from edgeseq.bench.suite import run

    effort = run.QUICK if quick else run.Effort()
    if peer is not None:
        from edgeseq.bench.suite import wasm

        found, versions = wasm.measure(peer, family, effort, progress=_say)
        shown = run.versions() | versions
        if as_json:
            _output.print_json(_kernels.as_json(found, None, shown))
        else:
            _kernels.show(found, None, shown)
        return
    rows = run.measure(run.choose(family), effort, progress=_say)
    overhead = run.call_overhead(effort)
    if plot is not None:
        plot.write_text(drawing.draw(rows, _machine.processor()), encoding="utf-8")
    if as_json:
        _output.print_json(_kernels.as_json(rows, overhead, run.versions()))
    else:
        _kernels.show(rows, overhead, run.versions())


def _say(name: str) -> None:
    click.echo(name, err=True)


def _save(file: Path, families: tuple[str, ...], *, quick: bool) -> None:
    """Write a cost table of this machine."""
    from edgeseq.bench.suite import fit
    from edgeseq.cli import _machine
    from edgeseq.lower import costs

    tries = 3 if quick else 9
    table = fit.fit_table(_machine.processor(), families, tries=tries, progress=_say)
    file.write_text(costs.dumps(table), encoding="utf-8")
    counts = ", ".join(f"{len(known)} kernels at {level}" for level, known in table.levels.items())
    click.echo(f"{file}: {counts}; hash {table.hash[:16]}")


@bench.command()
@click.option("--rounds", type=click.IntRange(1), default=30, show_default=True, help="Rounds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def overhead(rounds: int, as_json: bool) -> None:
    """Time a step of a model that does next to nothing, called from C."""
    from edgeseq import api, runtime
    from edgeseq import bench as harness
    from edgeseq.options import CompileOptions

    with tempfile.TemporaryDirectory(prefix="edgeseq-overhead-") as folder:
        adder = harness.write_adder(Path(folder, "adder.onnx"))
        options = CompileOptions(Path(folder, "dist"), targets=(runtime.host_target(),))
        api.compile_model(str(adder), options, lambda _: None)
        spread = harness.bench_overhead(options.output, rounds)
    if as_json:
        _output.print_json({"microseconds": dataclasses.asdict(spread)})
    else:
        click.echo(f"one call from C: {spread} us, median (p10 - p90) of {rounds} rounds")


bench.add_command(_threads.threads)


def _show(report: Report, processor: str) -> None:
    rows: list[tuple[Any, ...]] = []
    for side, spread in report.microseconds.items():
        ratio = report.ratio.get(side)
        rows.append(
            (
                side,
                f"{spread.median:.2f}",
                f"{spread.p10:.2f} - {spread.p90:.2f}",
                f"{report.latency[side].p99:.2f}",
                f"{report.cold[side].median:.1f}",
                "" if ratio is None else f"{ratio.median:.1f}x ({ratio.p10:.1f} - {ratio.p90:.1f})",
                "" if ratio is None else f"{report.difference[side]:.1e}",
            )
        )
    _output.table(
        [
            "",
            f"us a {report.call.split()[0]}",
            "p10 - p90",
            "p99",
            "cold",
            "edgeseq is faster by",
            "difference",
        ],
        rows,
    )
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    click.echo(
        f"{report.model} on {report.target}, called from {report.called_from}; "
        f"a call is one {report.call}, {report.rounds} rounds of {report.calls} calls\n"
        f"against {report.against}; {versions}\n{processor}"
    )
    if report.bandwidth:
        reading = report.weight_bytes / report.bandwidth * 1e6
        click.echo(
            f"{_output.size(report.weight_bytes)} of weights, read once in {reading:.2f} us at "
            f"{report.bandwidth / 1e9:.0f} GB/s, the bandwidth of this much memory"
        )
    if report.processor_share < BUSY:
        click.echo(
            f"the machine was busy: this process had a processor {report.processor_share:.0%} of "
            "the time, and shared its caches"
        )
