"""`edgeseq doctor`: what this machine has, and what is missing."""

from __future__ import annotations

import click

from edgeseq.cli import _output


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Show Python, processor, tools, package versions and the cache."""
    from edgeseq.cli import _machine

    if as_json:
        _output.print_json(
            {
                "machine": dict(_machine.machine()),
                "tools": [
                    dict(zip(("tool", "found", "for"), t, strict=True)) for t in _machine.tools()
                ],
                "packages": [
                    dict(zip(("package", "installed", "wanted", "verdict"), p, strict=True))
                    for p in _machine.packages()
                ],
            }
        )
        return
    _output.table(["machine", ""], _machine.machine())
    _output.table(["tool", "found", "needed for"], _machine.tools())
    _output.table(["package", "installed", "wanted", ""], _machine.packages())
