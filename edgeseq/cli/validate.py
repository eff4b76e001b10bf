"""`edgeseq validate`: proof that the compiled numbers are the model's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeseq.errors import NumericsError

if TYPE_CHECKING:
    from edgeseq.runtime import Manifest


@click.command()
@click.argument("dist", type=click.Path(path_type=Path))
@click.option("--target", multiple=True, metavar="NAME", help="Repeatable; default: all compiled.")
@click.option(
    "--engine",
    multiple=True,
    metavar="NAME",
    help="What runs it: native, qemu, wasmtime, node or chromium; repeatable; default: what the "
    "target needs.",
)
@click.option("--against", metavar="MODEL", help="Run this model again, not the recorded vectors.")
@click.option(
    "--junit", type=click.Path(path_type=Path), metavar="FILE.xml", help="Also write JUnit XML."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def validate(
    ctx: click.Context,
    dist: Path,
    target: tuple[str, ...],
    engine: tuple[str, ...],
    against: str | None,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Check every output of DIST against float64, whole and in pieces.

    Exit code 4 when a number is outside its tolerance.
    """
    from edgeseq.runtime import read_manifest

    manifest = read_manifest(dist)  # before the heavy imports: this is where mistakes show
    from edgeseq import engines
    from edgeseq import validate as checks

    oracle = checks.against(dist, against) if against else None
    verdicts = []
    for name, chosen in _runs(manifest, target, engine):
        with engines.opened(dist, name, chosen) as runner:
            verdict = checks.check(dist, name, runner, against=oracle)
        place = f"{name} in {chosen}" if chosen and chosen != engines.NATIVE else name
        verdicts.append(dataclasses.replace(verdict, target=place))
        if not as_json:
            click.echo(checks.to_text(verdicts[-1]))
    if as_json:
        click.echo(checks.to_json(verdicts))
    if junit is not None:
        junit.write_text(checks.to_junit(verdicts), encoding="utf-8")
    if not all(verdict.ok for verdict in verdicts):
        ctx.exit(NumericsError.exit_code)


def _runs(
    manifest: Manifest, targets: tuple[str, ...], wanted: tuple[str, ...]
) -> list[tuple[str, str | None]]:
    """Pairs of target and engine; of targets that nobody named, those that can be checked here."""
    from edgeseq import engines

    asked: tuple[str | None, ...] = wanted or (None,)
    runs: list[tuple[str, str | None]] = []
    for name in targets or sorted(manifest.targets):
        able = [engine for engine in asked if engines.choose(name, engine) is not None]
        if not able and not targets:
            click.echo(f"{name}: nothing here runs it", err=True)
        # a target that was named is tried nevertheless, so that it is said why it cannot be run
        runs += [(name, engine) for engine in able or asked[: len(targets)][:1]]
    return runs
