"""`edgeseq targets`: the catalogue of targets."""

from __future__ import annotations

import click

from edgeseq.cli import _catalogue, _output


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def targets(as_json: bool) -> None:
    """List the targets and what each one is."""
    found = _catalogue.entries("targets")
    if as_json:
        _output.print_json([{"name": name, "summary": line} for name, line in found])
    else:
        _output.table(["target", "summary"], found)
