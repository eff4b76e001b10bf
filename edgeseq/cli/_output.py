"""Tables and JSON on stdout, progress on stderr. rich is imported when something is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 200  # columns where there is no terminal: nothing is cut or wrapped in a pipe


def console(*, stderr: bool = False) -> Console:
    """Return a console that never guesses at markup in the user's own names."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(stderr=stderr, width=width, markup=False, highlight=False, soft_wrap=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout, nothing if it is empty; numbers are aligned to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    body = [list(row) for row in rows]
    if not body:
        return
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for column, name in enumerate(head):
        numeric = all(_is_number(row[column]) for row in body)
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        drawn.add_row(*(Text(_text(cell)) for cell in row))
    out = console()
    with out.capture() as drawing:
        out.print(drawn)
    click.echo("\n".join(line.rstrip() for line in drawing.get().splitlines()) + "\n")


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def size(count: int) -> str:
    """`337.2 kB`: decimal units."""
    if count < 1000:
        return f"{count} B"
    amount, unit = (count / 1e3, "kB") if count < 1_000_000 else (count / 1e6, "MB")
    return f"{amount:.1f} {unit}"


def _text(cell: object) -> str:
    if cell is None:
        return "-"
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def _is_number(cell: object) -> bool:
    if cell is None or isinstance(cell, int | float):
        return True
    first, _, unit = str(cell).partition(" ")
    return first.replace(".", "", 1).isdigit() and unit in ("", "B", "kB", "MB", "s", "us", "x")
