"""An Android module around the library: CMake package, JNI, a Kotlin class, Gradle files.

src/main/c/         the JNI layer, which Gradle builds with the NDK
src/main/kotlin/    the class that apps use
build.gradle.kts    a library module
<m>Config.cmake     for projects in C or C++: find_package(<m>)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseq.packages import _render
from edgeseq.packages._names import KOTLIN, distinct, lower_camel

if TYPE_CHECKING:
    from edgeseq.lower.interface import Interface, Tensor
    from edgeseq.targets._target import Target

# dtype -> (Kotlin array, view of a direct buffer, JNI bytes)
ARRAYS = {
    "float32": ("FloatBuffer", "asFloatBuffer", 4),
    "float64": ("DoubleBuffer", "asDoubleBuffer", 8),
    "int64": ("LongBuffer", "asLongBuffer", 8),
    "uint64": ("LongBuffer", "asLongBuffer", 8),
    "int32": ("IntBuffer", "asIntBuffer", 4),
    "uint32": ("IntBuffer", "asIntBuffer", 4),
    "int16": ("ShortBuffer", "asShortBuffer", 2),
    "uint16": ("ShortBuffer", "asShortBuffer", 2),
    "float16": ("ShortBuffer", "asShortBuffer", 2),
    "bfloat16": ("ShortBuffer", "asShortBuffer", 2),
    "int8": ("ByteBuffer", "slice", 1),
    "uint8": ("ByteBuffer", "slice", 1),
    "bool": ("ByteBuffer", "slice", 1),
}


def write(interface: Interface, target: Target, folder: Path) -> list[str]:
    """Write the module beside the library."""
    del target
    known = facts(interface)
    m, name = interface.name, known["Name"]
    templates = _render.environment("android")
    files = {
        f"src/main/kotlin/{known['java_folder']}/{name}.kt": "Model.kt.j2",
        f"src/main/c/{m}_jni.c": "jni.c.j2",
        "src/main/c/CMakeLists.txt": "CMakeLists.txt.j2",
        "src/main/AndroidManifest.xml": "AndroidManifest.xml.j2",
        "build.gradle.kts": "build.gradle.kts.j2",
        f"{m}Config.cmake": "Config.cmake.j2",
        "README.md": "README.md.j2",
    }
    for path, template in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        text = templates.get_template(template).render(known)
        (folder / path).write_text(text, encoding="utf-8")
    return sorted(files)


def facts(interface: Interface) -> dict[str, Any]:
    """What the templates need."""
    known = _render.facts(interface)
    tensors = (*interface.inputs, *interface.outputs)
    names = distinct(lower_camel(t.c_name, KOTLIN) for t in tensors)
    described = [_tensor(interface, t, n) for t, n in zip(tensors, names, strict=True)]
    count = len(interface.inputs)
    package = f"ai.edgeseq.{interface.name.replace('_', '').lower()}"
    return known | {
        "java_package": package,
        "java_folder": package.replace(".", "/"),
        "jni_prefix": f"Java_{package.replace('.', '_')}_{known['Name'].replace('_', '_1')}",
        "inputs": described[:count],
        "outputs": described[count:],
    }


def _tensor(interface: Interface, tensor: Tensor, name: str) -> dict[str, Any]:
    kind, view, size = ARRAYS[tensor.dtype]
    return {
        "name": name,
        "c_name": tensor.c_name,
        "c_type": tensor.c_type,
        "source": tensor.name,
        "dtype": tensor.dtype,
        "shape": ", ".join(map(str, tensor.shape)),
        "kind": kind,
        "view": view,
        "bytes": size,
        "elements": _render.elements(interface, tensor, "({a} / {b})"),
    }
