"""`edgeseq inspect`: what is in a model or in an artifact, and why it became so."""

from __future__ import annotations

from pathlib import Path

import click

from edgeseq import flags
from edgeseq.cli import _artifact, _graph


@click.command()
@click.argument("what", metavar="DIST|MODEL")
@click.option(
    "--why", is_flag=True, help="Also show what each pass refused, and each kernel's reason."
)
@click.option(
    "--emit-ir", metavar="STAGE", help="Write the model as it is after this pass (or `import`)."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where --emit-ir writes: .onnx, else text; default: text on stdout.",
)
@click.option("--picture", is_flag=True, help="Draw the blocks of each sparse matrix.")
@click.option(
    "--sensitivity",
    metavar="16x1",
    help="Prune copies to this pattern: sweep, knee and each layer's cost.",
)
@click.option(
    "--calibrate", multiple=True, metavar="PATH", help="Samples for --sensitivity; repeatable."
)
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE.svg", help="Draw the sweep there."
)
@click.option("--shape", multiple=True, metavar="x=1,T,80", help="As for compile.")
@click.option("--dim", multiple=True, metavar="T=1:4096", help="As for compile.")
@click.option("--const", multiple=True, metavar="sr=16000", help="As for compile.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(
    what: str,
    why: bool,
    emit_ir: str | None,
    output: Path | None,
    picture: bool,
    sensitivity: str | None,
    calibrate: tuple[str, ...],
    plot: Path | None,
    shape: tuple[str, ...],
    dim: tuple[str, ...],
    const: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show inputs, outputs, states, operators and kernels of a model or an artifact."""
    look = picture or sensitivity is not None
    if Path(what).is_dir():
        if emit_ir is None and not look:
            _artifact.show(Path(what), why=why, as_json=as_json)
            return
        what = str(Path(what) / "model.onnx")
    opened = _graph.Opened(
        what,
        shapes=dict(map(flags.shape, shape)),
        dims=dict(map(flags.dimension, dim)),
        consts=dict(map(flags.const, const)),
    )
    if emit_ir is not None:
        opened.emit(emit_ir, output)
    elif look:
        opened.show_sparsity(sensitivity, calibrate, plot, picture=picture)
    else:
        opened.show(why=why, as_json=as_json)
