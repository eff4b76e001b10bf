"""onnxruntime-web, where the user has it: its files for a browser, and a model that it reads."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgeseq.bench import source
from edgeseq.errors import ToolchainError, UsageError

ENTRY = "ort.wasm.min.mjs"
FILES = (ENTRY, "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def prepare(dist: Path, folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what the page has to know, and the files by name.

    Args:
        dist: The artifact.
        folder: The package onnxruntime-web, or a folder with it in node_modules.

    Raises:
        ToolchainError: it is not there.
        UsageError: ONNX Runtime cannot open the artifact's model.
    """
    package = _package(folder)
    described = json.loads((package / "package.json").read_text(encoding="utf-8"))
    content = {name: (package / "dist" / name).read_bytes() for name in FILES}
    with tempfile.TemporaryDirectory(prefix="edgeseq-serve-") as work:
        model = dist / "model.onnx"
        reference = source.open_reference(str(model), Path(work))
        readable = Path(work) / "readable.onnx"
        content["model.onnx"] = (readable if readable.exists() else model).read_bytes()
    about = {
        "version": described["version"],
        "entry": ENTRY,
        "bytes": sum(len(content[name]) for name in FILES),
        "constants": _constants(dist, reference),
    }
    return about, content


def _package(folder: Path) -> Path:
    for package in (folder / "node_modules" / "onnxruntime-web", folder):
        if all((package / "dist" / name).is_file() for name in FILES):
            return package
    raise ToolchainError(
        f"no onnxruntime-web in '{folder}'",
        why=f"its dist/ must hold {', '.join(FILES)}",
        fix=f"npm install --prefix '{folder}' onnxruntime-web",
    )


def _constants(dist: Path, reference: source.Reference) -> list[dict[str, Any]]:
    """Inputs of the peer's model that were bound to a number when it was compiled."""
    manifest = json.loads((dist / "manifest.json").read_text(encoding="utf-8"))
    known = {t["name"] for t in manifest["inputs"]} | {s["input"] for s in manifest["states"]}
    given = manifest["flags"].get("consts") or {}
    constants = []
    for name, (dtype, shape) in reference.inputs.items():
        if name in known:
            continue
        if name not in given:
            raise UsageError(
                f"model.onnx of '{dist}' has an input '{name}' that the compiled model has not",
                fix="compile again, or serve without --onnxruntime-web",
            )
        sizes = [d if isinstance(d, int) else 1 for d in shape]
        value = {"dtype": np.dtype(dtype).name, "shape": sizes, "value": given[name]}
        constants.append({"name": name} | value)
    return constants
