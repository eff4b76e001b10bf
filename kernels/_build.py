"""Compile kernels for one instruction set, for tests: a library that takes sizes at run time."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeseq.kernels._family import Kernel, Role

from edgeseq.errors import ToolchainError

C_FOLDER = Path(__file__).parent / "c"

# Warnings are errors: the `c` target compiles on other people's machines.
FLAGS = ("-O2", "-std=c99", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fPIC")
ZIG_FLAGS = ("-fno-sanitize=all", "-g0")


@dataclasses.dataclass(frozen=True)
class Isa:
    """How to compile for an instruction set and whether this machine runs it.

    Args:
        name: What tests show.
        define: The macro that chooses the header in c/simd, or "".
        triple: zig's name of the machine.
        cpu: zig's name of the level, or "".
        march: gcc's name of the level, or "".
        needs: Flags of /proc/cpuinfo.
        gcc: Compile with `cc` instead of zig.
        emulator: The command that runs a program for it, where this machine cannot.
        runner: `wasmtime`: it runs inside of that package.
        only: Part of the names of the kernels that it changes; others are as without it.
    """

    name: str
    define: str = ""
    triple: str = "x86_64-linux-musl"
    cpu: str = ""
    march: str = ""
    needs: frozenset[str] = frozenset()
    gcc: bool = False
    emulator: tuple[str, ...] = ()
    runner: str = ""
    only: str = ""

    @property
    def native(self) -> bool:
        """Whether it is compiled for this kind of machine."""
        return not self.emulator and not self.runner

    def missing(self) -> str | None:
        """Why this machine cannot run the code, or None if it can."""
        if self.runner:
            return None if importlib.util.find_spec(self.runner) else f"needs {self.runner}"
        if self.emulator:
            return None if shutil.which(self.emulator[0]) else f"needs {self.emulator[0]}"
        if platform.machine() != "x86_64":
            return f"compiled for x86-64, this is {platform.machine()}"
        lacking = sorted(self.needs - cpu_flags())
        return f"this CPU lacks {', '.join(lacking)}" if lacking else None


_QEMU_ARM64 = ("qemu-aarch64-static", "-cpu")
_AVX2 = frozenset({"avx2", "fma"})
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})

ISAS = (
    Isa("avx512", "ES_ISA_AVX512", cpu="x86_64_v4", march="x86-64-v4", needs=_AVX512),
    Isa(
        "avx512-vnni",
        "ES_ISA_AVX512VNNI",
        cpu="x86_64_v4+avx512vnni",
        needs=_AVX512 | {"avx512_vnni"},
        only="_i8",
    ),
    Isa("avx2", "ES_ISA_AVX2", cpu="x86_64_v3", march="x86-64-v3", needs=_AVX2),
    Isa(
        "avx2-vnni",
        "ES_ISA_AVX2VNNI",
        cpu="x86_64_v3+avxvnni",
        needs=_AVX2 | {"avx_vnni"},
        only="_i8",
    ),
    Isa("sse2", "ES_ISA_SSE2", cpu="x86_64_v2", march="x86-64"),
    Isa("c", cpu="x86_64"),
    Isa("avx512-gcc", "ES_ISA_AVX512", march="x86-64-v4", needs=_AVX512, gcc=True),
    Isa("avx2-gcc", "ES_ISA_AVX2", march="x86-64-v3", needs=_AVX2, gcc=True),
    Isa("c-gcc", gcc=True),
    Isa("c-one-lane-gcc", "ES_NO_VECTORS", gcc=True),
    Isa(
        "neon",
        "ES_ISA_NEON",
        "aarch64-linux-musl",
        emulator=(*_QEMU_ARM64, "cortex-a53"),  # no dot products, no fp16 arithmetic
    ),
    Isa(
        "neon-dotprod",
        "ES_ISA_NEONDOT",
        "aarch64-linux-musl",
        "cortex_a76",
        emulator=(*_QEMU_ARM64, "cortex-a76"),
        only="_i8",
    ),
    Isa(
        "armv7",
        triple="arm-linux-musleabihf",
        cpu="cortex_a7",
        emulator=("qemu-arm-static", "-cpu", "cortex-a7"),
    ),
    Isa(
        "wasm",
        "ES_ISA_WASM",
        "wasm32-freestanding",
        "generic+simd128",
        runner="wasmtime",
    ),
    Isa(
        "wasm-relaxed",
        "ES_ISA_WASM",
        "wasm32-freestanding",
        "generic+simd128+relaxed_simd",
        runner="wasmtime",
    ),
)


def cpu_flags() -> frozenset[str]:
    """The CPU's features as Linux names them."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()


def compiler(isa: Isa) -> list[str]:
    """The command and its flags for an instruction set."""
    given = os.environ.get("CC")
    define = [f"-D{isa.define}"] if isa.define else []
    if isa.gcc or given:
        command = shlex.split(given) if given else ["cc"]
        return [*command, *FLAGS, *define, *([f"-march={isa.march}"] if isa.march else [])]
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", isa.triple]
    return [*zig, *FLAGS, *ZIG_FLAGS, *define, *([f"-mcpu={isa.cpu}"] if isa.cpu else [])]


_EXPORT = """#if defined(__wasm__)
#define EXPORT(name) __attribute__((export_name(#name)))
#else
#define EXPORT(name)
#endif
"""


def wrapper(kernel: Kernel) -> str:
    """C of `<name>(sizes..., pointers...)`, exported."""
    sizes = [f"int {name}" for name in kernel.sizes]
    names = {"float32": "float"} | {
        n: f"{n}_t" for n in ("int8", "int32", "int64", "uint8", "uint16")
    }
    pointers = [
        f"{'const ' if a.role in (Role.IN, Role.CONST) else ''}{names[a.dtype]} *{a.name}"
        for a in kernel.args
    ]
    passed = ", ".join([*kernel.sizes, *(a.name for a in kernel.args)])
    head = f"void {kernel.name}({', '.join(sizes + pointers)})"
    return f"EXPORT({kernel.name}) {head};\n{head} {{ es_{kernel.name}({passed}); }}\n"


def source(kernels: Iterable[Kernel], extra: str = "") -> str:
    """One translation unit with the wrappers of these kernels."""
    kernels = tuple(kernels)
    includes = [f'#include "{name}"' for name in dict.fromkeys(k.source for k in kernels)]
    return "\n".join([*includes, _EXPORT, *(wrapper(k) for k in kernels), extra])


def compile_object(isa: Isa, text: str, output: Path, includes: Sequence[Path] = ()) -> Path:
    """Compile to an object file beside the source that it writes."""
    path = output.with_suffix(".c")
    path.write_text(text)
    folders = [f"-I{folder}" for folder in (*includes, C_FOLDER)]
    _run([*compiler(isa), *folders, "-c", str(path), "-o", str(output)])
    return output


def link(isa: Isa, objects: Sequence[Path], output: Path) -> Path:
    """Link a shared library without any other; an undefined symbol is an error.

    A program where `isa` is emulated, a module where it is WebAssembly.
    """
    flags = ["-shared", "-Wl,-z,defs"]
    if isa.runner == "wasmtime":
        flags = ["-Wl,--no-entry", "-Wl,--export=__heap_base"]
    elif isa.emulator:
        flags = ["-static"]
    _run([*compiler(isa), "-nostdlib", *flags, *map(str, objects), "-o", str(output)])
    return output


def call_table(kernels: Iterable[Kernel]) -> str:
    """C of `edgeseq_calls`: every kernel, called with arrays of sizes and of pointers."""
    kernels = tuple(kernels)
    lines = []
    for kernel in kernels:
        sizes = [f"sizes[{i}]" for i in range(len(kernel.sizes))]
        pointers = [f"pointers[{i}]" for i in range(len(kernel.args))]
        lines.append(
            f"static void call_{kernel.name}(const int32_t *sizes, void **pointers) "
            f"{{ {kernel.name}({', '.join([*sizes, *pointers])}); }}"
        )
    names = ", ".join(f"call_{kernel.name}" for kernel in kernels)
    lines.append("typedef void (*edgeseq_call)(const int32_t *sizes, void **pointers);")
    lines.append("extern const edgeseq_call edgeseq_calls[];")
    lines.append(f"const edgeseq_call edgeseq_calls[] = {{ {names} }};")
    return "\n".join(lines) + "\n"


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ToolchainError(
            f"the C compiler '{command[0]}' was not found", fix="set CC to a gcc or clang"
        ) from None
    if done.returncode:
        raise ToolchainError(f"{shlex.join(command)} failed", why=done.stderr[-2000:])
