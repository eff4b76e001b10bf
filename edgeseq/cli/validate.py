"""`edgeseq validate`: proof that the compiled numbers are the model's."""

from __future__ import annotations

from pathlib import Path

import click

from edgeseq.errors import NumericsError


@click.command()
@click.argument("dist", type=click.Path(path_type=Path))
@click.option("--target", multiple=True, metavar="NAME", help="Repeatable; default: all compiled.")
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
    against: str | None,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Check every output of DIST against float64, whole and in pieces.

    Exit code 4 when a number is outside its tolerance.
    """
    from edgeseq.runtime import read_manifest

    manifest = read_manifest(dist)  # before the heavy imports: this is where mistakes show
    from edgeseq import validate as checks

    oracle = checks.against(dist, against) if against else None
    verdicts = []
    for name in target or sorted(manifest.targets):
        verdicts.append(checks.check(dist, name, against=oracle))
        if not as_json:
            click.echo(checks.to_text(verdicts[-1]))
    if as_json:
        click.echo(checks.to_json(verdicts))
    if junit is not None:
        junit.write_text(checks.to_junit(verdicts), encoding="utf-8")
    if not all(verdict.ok for verdict in verdicts):
        ctx.exit(NumericsError.exit_code)
