"""`edgeseq compile`: model in, artifact out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from edgeseq import flags, registry
from edgeseq.cli import _progress, _quantization, _result, _sparsity
from edgeseq.errors import UsageError
from edgeseq.options import CompileOptions

_FIELDS = {"target": "targets", "shape": "shapes", "dim": "dims", "const": "consts"}
_TABLES = {
    "shape": flags.shape,
    "dim": flags.dimension,
    "const": flags.const,
    "state": flags.state,
    "cc": flags.compiler,
    "density": flags.density,
    "scheme": flags.scheme,
}
_EXAMPLES = """\b
edgeseq compile model.onnx -o dist
edgeseq compile model.onnx --target c --shape x=1,T,80 --dim T=1:2000 -o dist
edgeseq compile model.onnx --sparsity 0.9 --pattern 16x1 --calibrate clips/ --recover 500 -o dist"""


@click.command(epilog=_EXAMPLES)
@click.argument("model", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write.")
@click.option(
    "--target", multiple=True, metavar="NAME", help="Repeatable; default: this machine and c."
)
@click.option(
    "--shape", multiple=True, metavar="x=1,T,80", help="Shape of an input; names are symbols."
)
@click.option(
    "--dim", multiple=True, metavar="T=1:4096", help="Range of a symbol, or its size: batch=1."
)
@click.option(
    "--const", multiple=True, metavar="sr=16000", help="Feed an input this number for ever."
)
@click.option(
    "--state", multiple=True, metavar="IN=OUT", help="This output is carried to this input."
)
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Require a single step; or leave states as inputs and outputs.",
)
@click.option("--name", help="Prefix of the C functions; default: from the model.")
@click.option("--isa", metavar="LEVEL", help="Fix the instruction set, e.g. x86-64-v3.")
@click.option(
    "--cc",
    multiple=True,
    metavar="TARGET=COMMAND",
    help="Compile C for a target with this clang or gcc; default: CC, else zig's clang.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Cut large layers into shares for up to N threads; default 1.",
)
@click.option("--force", is_flag=True, default=None, help="Replace the folder if it exists.")
@click.option(
    "--cache/--no-cache", default=None, help="Reuse compiled pieces of earlier runs (default)."
)
@click.option("--seed", type=int, help="Of the random inputs in the verify vectors; default 0.")
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Sample inputs of the verify vectors; default: from --calibrate, or random.",
)
@_sparsity.flags
@_quantization.flags
@click.option(
    "--cost-table",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Choose kernels by times from `bench kernels --save`; default: those shipped.",
)
@click.option("--emit-ir", metavar="STAGE", help="Also write the model as it is after a pass.")
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep intermediate files there."
)
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Read flags from a file; those given here win.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Show every pass, also those that change nothing."
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def compile(
    recipe_file: Path | None, as_json: bool, verbose: bool, quiet: bool, **given: Any
) -> None:
    """Compile a model into a folder of libraries.

    MODEL is model.onnx, model.pt2, package.module:factory or file.py:factory.
    """
    model, options = gather(recipe_file, given)
    for target in options.targets:
        registry.find("targets", target)
    from edgeseq import api

    with _progress.Progress(show=not quiet, everything=verbose) as progress:
        api.compile_model(model, options, progress.event)
    _result.show(options.output, progress.events, progress.seconds, as_json=as_json)


def gather(
    recipe_file: Path | None, given: dict[str, Any], command: str = "compile"
) -> tuple[str, CompileOptions]:
    """Merge a command's recipe and flags; a flag wins, and in tables it wins name by name.

    Raises:
        UsageError: no model, no output folder, or something that cannot be read.
    """
    from edgeseq import recipe

    merged = recipe.read(recipe_file, command) if recipe_file else {}
    for flag, value in given.items():
        if flag in _TABLES:
            merged[flag] = {**merged.get(flag, {}), **dict(map(_TABLES[flag], value))}
        elif value not in (None, ()):
            merged[flag] = value
    model = merged.pop("model", None)
    place = "-o DIR" if command == "compile" else "-o FILE"
    for name, missing in (("MODEL", model is None), (place, "output" not in merged)):
        if missing:
            raise UsageError(f"{name} is missing", fix=f"edgeseq {command} MODEL {place}")
    return model, _options(merged)


def _options(merged: dict[str, Any]) -> CompileOptions:
    merged["states"] = tuple(merged.pop("state", {}).items())
    merged["sparse"] = _sparsity.take(merged)
    merged["quantize"] = _quantization.take(merged)
    named = {_FIELDS.get(flag, flag): value for flag, value in merged.items()}
    known = {f.name for f in dataclasses.fields(CompileOptions)}
    assert named.keys() <= known, named.keys() - known
    return CompileOptions(**named)
