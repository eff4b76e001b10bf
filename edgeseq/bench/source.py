"""The model to compare with: an ONNX file as it is, or a PyTorch model and its ONNX export."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from edgeseq.bench import ort
from edgeseq.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Reference:
    """What the other sides run.

    Args:
        spec: As the user gave it.
        session: The ONNX Runtime session.
        inputs: Name to dtype and shape, in the model's order.
        outputs: Names in the model's order.
        module: The PyTorch module, where the spec names one.
        example: The inputs it was exported with.
    """

    spec: str
    session: Any
    inputs: dict[str, ort.InputType]
    outputs: list[str]
    module: Any = None
    example: Any = None


def open_reference(spec: str, folder: Path) -> Reference:
    """Open a model.

    Args:
        spec: `x.onnx`, `x.pt2` or `package.module:factory`.
        folder: Where an export may be written.

    Raises:
        UsageError: it is missing, or ONNX Runtime cannot open it.
    """
    if spec.endswith(".onnx"):
        return _reference(spec, _readable(Path(spec), folder))
    import onnx_ir as ir

    from edgeseq.frontends.load import load

    imported = load(spec)
    exported = folder / "model.onnx"
    ir.save(imported.model, exported)
    return dataclasses.replace(
        _reference(spec, exported), module=imported.torch_module, example=imported.example_inputs
    )


def _readable(file: Path, folder: Path) -> Path:
    """Return the file, or a copy that says an older IR version where it is newer than the runtime.

    `onnx` 1.23 writes IR version 14 by default, ONNX Runtime 1.31 reads up to 13; for models
    without the newest types the two are the same bytes but for this number.
    """
    import onnx

    try:
        model = onnx.load(file, load_external_data=False)
    except Exception:  # not for this function to report
        return file
    if model.ir_version <= ort.NEWEST_IR:
        return file
    model = onnx.load(file)
    model.ir_version = ort.NEWEST_IR
    onnx.save(model, folder / "readable.onnx")
    return folder / "readable.onnx"


def _reference(spec: str, file: Path) -> Reference:
    if not file.is_file():
        raise UsageError(f"no such file: '{file}'")
    try:
        session = ort.session(file)
    except Exception as e:  # onnxruntime has no common base for its errors
        raise UsageError(f"ONNX Runtime cannot open '{spec}'", why=str(e)) from None
    outputs = [o.name for o in session.get_outputs()]
    return Reference(spec, session, ort.input_types(session), outputs)
