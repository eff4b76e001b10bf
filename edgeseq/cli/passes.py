"""`edgeseq passes`: the catalogue of passes."""

from __future__ import annotations

import click

from edgeseq.cli import _catalogue, _output


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def passes(as_json: bool) -> None:
    """List the passes and what each one does."""
    found = _catalogue.entries("passes")
    if as_json:
        _output.print_json([{"name": name, "summary": line} for name, line in found])
    else:
        _output.table(["pass", "summary"], found)
