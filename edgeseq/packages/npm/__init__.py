"""An npm package around WebAssembly modules: ES modules and types, nothing to build or install."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseq.packages import _render
from edgeseq.packages._audio import audio

if TYPE_CHECKING:
    from edgeseq.lower.interface import Interface, Tensor
    from edgeseq.targets._target import Target

ARRAYS = {
    "float32": "Float32Array",
    "float64": "Float64Array",
    "float16": "Uint16Array",
    "bfloat16": "Uint16Array",
    "bool": "Uint8Array",
    "int8": "Int8Array",
    "uint8": "Uint8Array",
    "int16": "Int16Array",
    "uint16": "Uint16Array",
    "int32": "Int32Array",
    "uint32": "Uint32Array",
    "int64": "BigInt64Array",
    "uint64": "BigUint64Array",
}
FILES = ("core.mjs", "index.mjs", "node.mjs", "index.d.ts", "package.json", "README.md")
AUDIO = ("worklet.mjs", "worklet.d.ts", "processor.mjs")
LONGEST = 256  # steps that memory is kept for where there is no single step and nobody asks


def write(interface: Interface, target: Target, folder: Path) -> list[str]:
    """Write the package beside its modules."""
    known = _facts(interface, target, folder)
    templates = _render.environment("npm")
    written = {name: templates.get_template(f"{name}.j2").render(known) for name in FILES}
    if known["audio"]:
        for name in AUDIO:
            written[name] = templates.get_template(f"{name}.j2").render(known)
    known |= {"core": written["core.mjs"], **_embedded(interface, known, folder)}
    written["inline.mjs"] = templates.get_template("inline.mjs.j2").render(known)
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(written)


def _facts(interface: Interface, target: Target, folder: Path) -> dict[str, Any]:
    m = interface.name
    baseline = target.isas[0].level
    modules = {"simd128": f"{m}.wasm"} | {
        isa.level: f"{m}.{isa.level}.wasm" for isa in target.isas if isa.level != baseline
    }
    built = {level: name for level, name in modules.items() if (folder / name).exists()}
    default = 1 if interface.step else max(interface.min_t, min(interface.max_t, LONGEST))
    return _render.facts(interface) | {
        "package": m.replace("_", "-"),
        "modules": built,
        "weight_bytes": (folder / f"{m}.weights.bin").stat().st_size,
        "inputs": [_tensor(interface, t) for t in interface.inputs],
        "outputs": [_tensor(interface, t) for t in interface.outputs],
        "default_steps": default,
        "audio": audio(interface),
    }


def _tensor(interface: Interface, tensor: Tensor) -> dict[str, str]:
    shape = ", ".join(json.dumps(d) for d in tensor.shape)
    return {
        "name": json.dumps(tensor.name),
        "plain": tensor.name,
        "dtype": tensor.dtype,
        "array": ARRAYS[tensor.dtype],
        "shape": f"[{shape}]",
        "elements": _render.elements(interface, tensor, "Math.floor({a} / {b})"),
    }


def _embedded(interface: Interface, known: dict[str, Any], folder: Path) -> dict[str, str]:
    module = next(iter(known["modules"].values()))
    return {
        "module_text": base64.b64encode((folder / module).read_bytes()).decode(),
        "weights_text": base64.b64encode(
            (folder / f"{interface.name}.weights.bin").read_bytes()
        ).decode(),
    }
