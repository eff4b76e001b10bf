"""`x.onnx`, `x.pt2` or `package.module:factory` -> a model, and where it came from."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseq.errors import UsageError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    import torch

_FORMS = "give a model.onnx, a model.pt2 (torch.export.save), or package.module:factory"


@dataclasses.dataclass(frozen=True)
class Imported:
    """A model as the passes take it.

    Args:
        model: The model at the internal opset.
        source: `spec`, as the user wrote it, and `sha256` of the file; of a factory, of the model.
        torch_module: The module, where there is one: the oracle runs it in float64.
        example_inputs: What the module was traced with, a tuple or a dict.
    """

    model: ir.Model
    source: dict[str, str]
    torch_module: torch.nn.Module | None = None
    example_inputs: Any = None


def load(spec: str | Path, dynamic: Any = None) -> Imported:
    """Import a model.

    Args:
        spec: A path to `.onnx` or `.pt2`, or `package.module:factory` (or `file.py:factory`), where
            the factory returns `(module, example_inputs)` or `(module, example_inputs, dynamic)`.
        dynamic: Names of dimensions that may vary, as in `{"x": {1: "T"}}`; for programs and
            factories, and before what the factory says.

    Raises:
        UsageError: there is no such file, module or factory, or it is not what it should be.
        UnsupportedModelError: the module cannot be traced or translated.
    """
    text = str(spec)
    suffix = Path(text).suffix
    if suffix == ".onnx":
        return _load_onnx(text)
    if suffix == ".pt2":
        return _load_program(text, dynamic)
    if suffix in (".pt", ".pth", ".ckpt", ".bin", ".safetensors"):
        raise UsageError(
            f"'{text}' holds weights, not a program",
            why="a checkpoint does not say what to compute with its weights",
            fix="write a function that builds the module and loads them, and give "
            "package.module:function; or save with torch.export.save(torch.export.export(...))",
        )
    if ":" in text:
        return _load_factory(text, dynamic)
    if Path(text).exists():
        raise UsageError(f"'{text}' is of a kind that edgeseq does not read", fix=_FORMS)
    raise UsageError(f"'{text}' is neither a file nor package.module:factory", fix=_FORMS)


def from_module(module: torch.nn.Module, example_inputs: Any, dynamic: Any = None) -> Imported:
    """Import a module that is already in memory; arguments as in `torch.import_torch`."""
    from edgeseq.frontends.torch import import_torch

    model = import_torch(module, example_inputs, dynamic)
    kind = type(module)
    source = {"spec": f"{kind.__module__}.{kind.__qualname__}", "sha256": _model_sha256(model)}
    return Imported(model, source, module, example_inputs)


def from_proto(proto: onnx.ModelProto) -> Imported:
    """Import an ONNX model that is already in memory, with all its data."""
    from edgeseq.frontends.onnx import import_onnx

    data = proto.SerializeToString(deterministic=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(data)
        model = import_onnx(file)
    source = {"spec": proto.graph.name or "model", "sha256": hashlib.sha256(data).hexdigest()}
    return Imported(model, source)


def _load_onnx(path: str) -> Imported:
    from edgeseq.frontends.onnx import import_onnx

    return Imported(import_onnx(path), {"spec": path, "sha256": _sha256(path)})


def _load_program(path: str, dynamic: Any) -> Imported:
    from edgeseq.frontends.torch import import_torch
    from edgeseq.frontends.torch_program import read_program

    sha256 = _sha256(path)
    program = read_program(path)
    args, kwargs = program.example_inputs or ((), {})
    return Imported(
        import_torch(program, None, dynamic),
        {"spec": path, "sha256": sha256},
        example_inputs=kwargs or args,
    )


def _load_factory(spec: str, dynamic: Any) -> Imported:
    from edgeseq.frontends.factory import call_factory

    made = call_factory(spec)
    imported = from_module(made.module, made.example_inputs, dynamic or made.dynamic)
    return dataclasses.replace(imported, source={**imported.source, "spec": spec})


def _sha256(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file", fix="check the path") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=error.strerror or str(error)) from None


def _model_sha256(model: ir.Model) -> str:
    import onnx_ir as ir

    proto = ir.to_proto(model)
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
