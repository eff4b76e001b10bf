"""`edgeseq search`: model in, a folder of recipes out, none better than another in all respects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseq import flags
from edgeseq.cli import _output, _progress
from edgeseq.errors import UsageError
from edgeseq.options import SearchOptions

if TYPE_CHECKING:
    from edgeseq.search.pareto import Found

_EXAMPLES = """\b
edgeseq search model.onnx --calibrate clips/ --storage study.db --minutes 10 -o pareto
edgeseq search model.onnx --calibrate clips/ --max-size 200kB --max-drop 0.1dB -o pareto
edgeseq compile --recipe pareto/point-03.toml"""


@click.command(epilog=_EXAMPLES)
@click.argument("model", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The folder to write.")
@click.option(
    "--calibrate",
    multiple=True,
    metavar="PATH",
    help="Samples: .npz, .npy or .wav, a folder or a quoted glob; repeatable. The last recording, "
    "or the last third of one, is what errors are measured on.",
)
@click.option(
    "--storage",
    metavar="FILE|URL",
    help="Keep the study in a file or a database: it goes on after a kill, and machines share it.",
)
@click.option("--trials", type=int, metavar="N", help="Stop when the study has so many points.")
@click.option("--minutes", type=float, metavar="M", help="Stop after so long; default: 10.")
@click.option(
    "--schemes",
    metavar="A,B",
    help="Number types beside float; default: bf16,int8,int8-dynamic,w4g32.",
)
@click.option("--densities", metavar="A,B", help="Densities beside 1; default: 0.5,0.25,0.1.")
@click.option("--max-size", metavar="200kB", help="Bytes of all weights.")
@click.option("--max-time", metavar="0.1ms", help="Predicted time of the searched layers a step.")
@click.option("--max-drop", metavar="0.1dB", help="Largest loss of an output; default: 1dB.")
@click.option("--pattern", metavar="16x4", help="Of the zeros, as for prune; default: 16x4.")
@click.option("--criterion", metavar="NAME", help="What becomes zero, as for prune.")
@click.option("--target", multiple=True, metavar="NAME", help="As for compile.")
@click.option("--isa", metavar="LEVEL", help="Predict times for this instruction set.")
@click.option(
    "--cost-table", type=click.Path(path_type=Path), metavar="FILE", help="As for compile."
)
@click.option("--shape", multiple=True, metavar="x=1,T,80", help="As for compile.")
@click.option("--dim", multiple=True, metavar="T=1:4096", help="As for compile.")
@click.option("--const", multiple=True, metavar="sr=16000", help="As for compile.")
@click.option("--state", multiple=True, metavar="IN=OUT", help="As for compile.")
@click.option("--seed", type=int, help="Of everything random; default 0.")
@click.option("--force", is_flag=True, default=None, help="Replace the folder's files.")
@click.option("--json", "as_json", is_flag=True, help="Print pareto.json instead of tables.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def search(as_json: bool, quiet: bool, **given: Any) -> None:
    """Search the number type and the density of every layer.

    Looks for points of least error, bytes and predicted time; writes those that no other beats as
    a table, a plot and a recipe each, for compile. MODEL is as for compile.
    """
    from edgeseq.cli.compile import gather

    wanted = _wanted(given)
    model, options = gather(None, given, "search")
    from edgeseq import api

    with _progress.Progress(show=not quiet, everything=True) as progress:
        found = api.search_model(model, options, wanted, progress.event)
    _show(options.output, found, as_json=as_json)


def _wanted(given: dict[str, Any]) -> SearchOptions:
    """Take the flags of the search out of those of the model."""
    names = ("trials", "minutes", "storage", "schemes", "densities")
    found = {name: given.pop(name) for name in names}
    try:
        if found["schemes"] is not None:
            found["schemes"] = tuple(filter(None, found["schemes"].split(",")))
        if found["densities"] is not None:
            found["densities"] = tuple(map(float, filter(None, found["densities"].split(","))))
        for name, read in (
            ("max_size", flags.size),
            ("max_time", flags.duration),
            ("max_drop", flags.decibels),
        ):
            text = given.pop(name)
            found[name] = None if text is None else read(text)
    except ValueError as error:
        raise UsageError(f"cannot read a flag: {error}", fix="edgeseq search --help") from None
    if found["trials"] is None and found["minutes"] is None:
        found["minutes"] = 10.0
    return SearchOptions(**{name: value for name, value in found.items() if value is not None})


def _show(output: Path, found: Found, *, as_json: bool) -> None:
    from edgeseq.search import pareto

    if as_json:
        click.echo((output / "pareto.json").read_text(encoding="utf-8"), nl=False)
        return
    _output.table(pareto.HEAD, pareto.rows(found))
    for note in found.notes:
        click.echo(f"note: {note}")
    click.echo(f"{output}: {len(found.front)} of {len(found.tried)} points, pareto.svg, recipes")
