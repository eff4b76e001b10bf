"""`edgeseq validate`: proof that the compiled numbers are the model's."""

from __future__ import annotations

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
    metavar="NAME",
    help="What runs it: native, qemu, wasmtime, node or chromium; default: what the target needs.",
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
    engine: str | None,
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
    for name in target or _that_run(manifest, engine):
        with engines.opened(dist, name, engine) as runner:
            verdicts.append(checks.check(dist, name, runner, against=oracle))
        if not as_json:
            click.echo(checks.to_text(verdicts[-1]))
    if as_json:
        click.echo(checks.to_json(verdicts))
    if junit is not None:
        junit.write_text(checks.to_junit(verdicts), encoding="utf-8")
    if not all(verdict.ok for verdict in verdicts):
        ctx.exit(NumericsError.exit_code)


def _that_run(manifest: Manifest, engine: str | None) -> list[str]:
    """Targets of an artifact that can be checked here; what cannot is said."""
    from edgeseq import engines

    able = []
    for name in sorted(manifest.targets):
        if engines.choose(name, engine) is None:
            click.echo(f"{name}: nothing here runs it", err=True)
        else:
            able.append(name)
    return able
