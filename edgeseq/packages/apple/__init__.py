"""A Swift package around the static library: module map, typed class, and an xcframework script.

module.modulemap        `import C<Name>` from Swift and Objective-C
Sources/<Name>/         the class that apps use
xcframework.sh          puts one or more of these folders into C<Name>.xcframework
Package.swift           the package; its binary target is what the script made
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseq.packages import _render
from edgeseq.packages._names import SWIFT, distinct, lower_camel

if TYPE_CHECKING:
    from edgeseq.lower.interface import Interface, Tensor
    from edgeseq.targets._target import Target

TYPES = {
    "float32": "Float",
    "float64": "Double",
    "float16": "UInt16",
    "bfloat16": "UInt16",
    "bool": "UInt8",
    **{f"{sign}int{bits}": f"{'U' if sign else ''}Int{bits}"
       for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


def write(interface: Interface, target: Target, folder: Path) -> list[str]:
    """Write the package beside the library."""
    known = facts(interface) | {"platform": "ios" if target.name.endswith("ios") else "macos"}
    templates = _render.environment("apple")
    files = {
        "module.modulemap": "module.modulemap.j2",
        "Package.swift": "Package.swift.j2",
        f"Sources/{known['Name']}/{known['Name']}.swift": "Model.swift.j2",
        "xcframework.sh": "xcframework.sh.j2",
        "README.md": "README.md.j2",
    }
    for path, template in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        text = templates.get_template(template).render(known)
        (folder / path).write_text(text, encoding="utf-8")
    return sorted(files)


def facts(interface: Interface) -> dict[str, Any]:
    """What the templates need."""
    tensors = (*interface.inputs, *interface.outputs)
    names = distinct(lower_camel(t.c_name, SWIFT) for t in tensors)
    described = [_tensor(interface, t, n) for t, n in zip(tensors, names, strict=True)]
    count = len(interface.inputs)
    return _render.facts(interface) | {
        "inputs": described[:count],
        "outputs": described[count:],
        "pointers": ", ".join(f"{t['name']}.baseAddress" for t in described),
    }


def _tensor(interface: Interface, tensor: Tensor, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "source": tensor.name,
        "dtype": tensor.dtype,
        "shape": ", ".join(map(str, tensor.shape)),
        "type": TYPES[tensor.dtype],
        "elements": _render.elements(interface, tensor, "({a} / {b})"),
    }
