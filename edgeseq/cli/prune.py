"""`edgeseq prune`: model in, sparse ONNX file out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseq.cli import _output, _progress, _sparsity

if TYPE_CHECKING:
    from edgeseq.train.compress import Compressed

_EXAMPLES = """\b
edgeseq prune model.onnx --sparsity 0.8 --calibrate clips/ --recover 500 -o sparse.onnx
edgeseq prune model.onnx --pattern 2:4 --criterion wanda --calibrate a.npz -o sparse.onnx"""


@click.command(epilog=_EXAMPLES)
@click.argument("model", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The .onnx file to write.")
@_sparsity.flags
@click.option(
    "--cost-table",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Kernel times for --budget; default: those shipped.",
)
@click.option("--shape", multiple=True, metavar="x=1,T,80", help="As for compile.")
@click.option("--dim", multiple=True, metavar="T=1:4096", help="As for compile.")
@click.option("--const", multiple=True, metavar="sr=16000", help="As for compile.")
@click.option("--state", multiple=True, metavar="IN=OUT", help="As for compile.")
@click.option("--seed", type=int, help="Of everything random; default 0.")
@click.option("--force", is_flag=True, default=None, help="Replace the file if it exists.")
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Read flags from its table [prune]; those given here win.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def prune(recipe_file: Path | None, as_json: bool, quiet: bool, **given: Any) -> None:
    """Set weights of a model to zero and write it as ONNX, for any runtime.

    Zeros follow a pattern that the kernels use. MODEL is as for compile; of an .onnx file all but
    the weights stays as it is.
    """
    from edgeseq.cli.compile import gather

    model, options = gather(recipe_file, given, "prune")
    from edgeseq import api

    with _progress.Progress(show=not quiet, everything=True) as progress:
        done = api.prune_model(model, options, progress.event)
    _show(options.output, done, as_json=as_json)


def _show(output: Path, done: Compressed, *, as_json: bool) -> None:
    from edgeseq.train.compress import summary

    if as_json:
        _output.print_json(
            {
                "output": str(output),
                "weights": done.pruned.weights,
                "kept": done.pruned.kept,
                "output_error": done.output_error,
                "synthetic": done.synthetic,
                "matrices": [dataclasses.asdict(row) for row in done.pruned.rows],
                "dense": [dataclasses.asdict(skipped) for skipped in done.pruned.skipped],
                "notes": done.notes,
            }
        )
        return
    _output.table(
        ["matrix", "kind", "outputs", "inputs", "pattern", "density", "note"],
        [dataclasses.astuple(row) for row in done.pruned.rows],
    )
    _output.table(["left dense", "why"], [(s.name, s.reason) for s in done.pruned.skipped])
    for note in done.notes:
        click.echo(f"note: {note}")
    click.echo(f"{output}: {summary(done)}")
