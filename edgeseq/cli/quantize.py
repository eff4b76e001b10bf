"""`edgeseq quantize`: model in, quantized ONNX file out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseq.cli import _output, _progress, _quantization, _sparsity

if TYPE_CHECKING:
    from edgeseq.quantize.command import Done

_EXAMPLES = """\b
edgeseq quantize model.onnx --calibrate clips/ -o model.int8.onnx
edgeseq quantize model.onnx --calibrate clips/ --recover 300 -o model.int8.onnx
edgeseq quantize model.onnx --quantize w4g32 --rounding gptq --calibrate a.npz -o small.onnx"""


@click.command(epilog=_EXAMPLES)
@click.argument("model", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The .onnx file to write.")
@_quantization.flags
@click.option(
    "--calibrate",
    multiple=True,
    metavar="PATH",
    help="Samples: .npz, .npy or .wav, a folder or a quoted glob; repeatable.",
)
@click.option(
    "--hold-out",
    is_flag=True,
    default=None,
    help="Measure on the last sample, or the last third of one, and learn nothing from it.",
)
@_sparsity.recovery
@click.option("--shape", multiple=True, metavar="x=1,T,80", help="As for compile.")
@click.option("--dim", multiple=True, metavar="T=1:4096", help="As for compile.")
@click.option("--const", multiple=True, metavar="sr=16000", help="As for compile.")
@click.option("--state", multiple=True, metavar="IN=OUT", help="As for compile.")
@click.option("--seed", type=int, help="Of everything random; default 0.")
@click.option("--force", is_flag=True, default=None, help="Replace the file if it exists.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Also write layers, errors and drift as a page.",
)
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Read flags from its table [quantize]; those given here win.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def quantize(
    recipe_file: Path | None, report: Path | None, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Store the weights of a model in fewer bits and write it as ONNX, for any runtime.

    The default is int8: static scales with --calibrate, else those of each step. MODEL is as for
    compile.
    """
    from edgeseq.cli.compile import gather

    if given["quantize"] is None and recipe_file is None:
        given["quantize"] = "int8"
    model, options = gather(recipe_file, given, "quantize")
    from edgeseq import api

    with _progress.Progress(show=not quiet, everything=True) as progress:
        done = api.quantize_model(model, options, progress.event)
    if report is not None:
        from edgeseq.report import quantization

        quantization.write(done, report)
    _show(options.output, done, as_json=as_json)


def _show(output: Path, done: Done, *, as_json: bool) -> None:
    from edgeseq.quantize.command import summary

    if as_json:
        _output.print_json(
            {
                "output": str(output),
                "bytes": done.quantized.nbytes,
                "float_bytes": done.quantized.float_bytes,
                "synthetic": done.synthetic,
                "drop": done.drop,
                "steps": done.steps,
                "layers": [dataclasses.asdict(c) for c in done.quantized.changes],
                "float": [dataclasses.asdict(one) for one in done.quantized.left],
                "errors": [
                    {**dataclasses.asdict(c), "snr": c.snr, "slope": c.slope, "grows": c.grows}
                    for c in done.curves
                ],
                "notes": done.notes,
            }
        )
        return
    _output.table(
        ["layer", "operator", "scheme", "activations", "weights", "bytes", "methods"],
        [
            (
                *(c.name, c.op_type, c.scheme, c.activations, c.elements, c.nbytes),
                ", ".join(c.methods),
            )
            for c in done.quantized.changes
        ],
    )
    _output.table(["left in float", "why"], [(o.name, o.reason) for o in done.quantized.left])
    _output.table(
        ["output", "kind", "error, dB", "largest"],
        [(c.name, c.kind, f"{-c.snr:.1f}", f"{c.largest:.2g}") for c in done.curves],
    )
    for note in done.notes:
        click.echo(f"note: {note}")
    click.echo(f"{output}: {summary(done)}")
