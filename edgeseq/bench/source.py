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
        return _reference(spec, Path(spec))
    import onnx_ir as ir

    from edgeseq.frontends.load import load

    imported = load(spec)
    exported = folder / "model.onnx"
    ir.save(imported.model, exported)
    return dataclasses.replace(
        _reference(spec, exported), module=imported.torch_module, example=imported.example_inputs
    )


def _reference(spec: str, file: Path) -> Reference:
    if not file.is_file():
        raise UsageError(f"no such file: '{file}'")
    try:
        session = ort.session(file)
    except Exception as e:  # onnxruntime has no common base for its errors
        raise UsageError(f"ONNX Runtime cannot open '{spec}'", why=str(e)) from None
    outputs = [o.name for o in session.get_outputs()]
    return Reference(spec, session, ort.input_types(session), outputs)
