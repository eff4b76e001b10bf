"""Programs -> the files of a target: libraries, modules, C source, and the package around them."""

from __future__ import annotations

import dataclasses
import importlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tvm

from edgeseq.errors import UsageError
from edgeseq.lower import blob, runtime_support, sources, tir
from edgeseq.lower.toolchain import Compiler, Toolchain
from edgeseq.targets._target import Form, Isa, Target

if TYPE_CHECKING:
    from edgeseq.lower.build import Lowered

# Contraction and reassociation let LLVM vectorise reductions; nothing that changes NaN or Inf.
FAST_MATH = {"fast-math-contract": True, "fast-math-reassoc": True}
EXPORTS = [
    "state_size",
    "arena_size",
    "init",
    "reset",
    "step",
    "run",
    "save",
    "load",
    "version",
    "strerror",
]


def emit(
    lowered: Lowered, target: Target, isa: str | None, folder: Path, compiler: Compiler | None
) -> list[str]:
    """Write the files of one target into a folder and return their names.

    A target that is source has no compiler.
    """
    if target.form is Form.SOURCE:
        return _emit_source(lowered, folder)
    levels = built_levels(lowered, target, isa)
    if not levels:
        known = ", ".join(i.level for i in target.isas)
        raise UsageError(f"target '{target.name}' has no level '{isa}'", fix=f"--isa: {known}")
    with tempfile.TemporaryDirectory(prefix="edgeseq-") as temporary:
        work = Path(temporary)
        compiling = _Compiling(lowered, target, levels, work, compiler)
        names = (_emit_wasm if target.form is Form.WASM else _emit_native)(compiling)
        for name in names:
            (folder / name).write_bytes((work / name).read_bytes())
    if target.package:
        packager = importlib.import_module(f"edgeseq.packages.{target.package}")
        names += packager.write(lowered.interface, target, folder)
    return names


def built_levels(lowered: Lowered, target: Target, isa: str | None) -> tuple[Isa, ...]:
    """The levels that hand-written kernels are built for: those of int8 where there is int8."""
    int8 = any("i8" in call.choice.kernel.name.split("_") for call in lowered.kernel_calls())
    return target.dispatched(isa, int8=int8)


def exports(lowered: Lowered) -> list[str]:
    """The C functions of a model."""
    m, more = lowered.interface.name, ["parallel"] if lowered.interface.threads > 1 else []
    return [f"{m}_{n}" for n in [*EXPORTS, *more] if n != "step" or lowered.interface.step]


def _emit_source(lowered: Lowered, folder: Path) -> list[str]:
    m = lowered.interface.name
    generated = tir.c_source(_named(lowered))
    header, source = sources.single(lowered.interface, lowered.layouts, lowered.weights, generated)
    (folder / f"{m}.h").write_text(header)
    (folder / f"{m}.c").write_text(source)
    return [f"{m}.c", f"{m}.h", *_pool(lowered, folder)]


def _pool(lowered: Lowered, folder: Path) -> list[str]:
    """Write the source of the threads, which the user may compile, where there are shares."""
    if lowered.interface.threads == 1:
        return []
    name = f"{lowered.interface.name}_threads.c"
    (folder / name).write_text(sources.pool(lowered.interface))
    return [name]


def _emit_native(compiling: _Compiling) -> list[str]:
    lowered, target, work = compiling.lowered, compiling.target, compiling.work
    m = lowered.interface.name
    (work / "weights.bin").write_bytes(lowered.weights.blob() or bytes(64))
    compiling.source(f"{m}_weights", blob.included(f"{m}_weights", target.triple))
    objects = compiling.everything()
    compiling.tools.archive(objects, f"lib{m}.a")
    names = [f"{m}.h", f"lib{m}.a"]
    if target.form is Form.SHARED:
        compiling.tools.shared(objects, f"lib{m}.so", exports(lowered), target.link)
        names.append(f"lib{m}.so")
    pool = _pool(lowered, work)
    if pool and target.form is Form.SHARED and target.triple.endswith("-linux-gnu"):
        compiling.tools.with_threads(pool[0], f"lib{m}_threads.so")
        names.append(f"lib{m}_threads.so")
    return [*names, *pool]


def _emit_wasm(whole: _Compiling) -> list[str]:
    """One module per level: the first is `<m>.wasm`. The weights are read into its memory."""
    lowered, work = whole.lowered, whole.work
    m = lowered.interface.name
    weights = lowered.weights.blob() or bytes(64)
    (work / f"{m}.weights.bin").write_bytes(weights)
    names = [f"{m}.weights.bin"]
    for level in whole.levels:
        compiling = dataclasses.replace(whole, levels=[level])
        compiling.source(f"{m}_weights", blob.reserved(f"{m}_weights", weights))
        objects = compiling.everything()
        name = f"{m}.wasm" if level is whole.target.isas[0] else f"{m}.{level.level}.wasm"
        visible = [*exports(lowered), f"{m}_weights", f"{m}_weights_differ", "__heap_base"]
        compiling.tools.wasm(objects, name, visible)
        names.append(name)
    return names


@dataclasses.dataclass
class _Compiling:
    """The objects of one model for one target, and the folder they are made in."""

    lowered: Lowered
    target: Target
    levels: Sequence[Isa]
    work: Path
    compiler: Compiler | None

    def __post_init__(self) -> None:
        self.tools = Toolchain(self.target, self.work, self.compiler)
        self.objects: list[str] = []

    def source(self, name: str, text: str) -> None:
        """Compile a C file for the lowest level."""
        self._take(self._compiled(name, text, self.levels[0]))

    def _compiled(self, name: str, text: str, level: Isa) -> str:
        (self.work / f"{name}.c").write_text(text)
        includes = [Path(), sources.kernel_folder()]
        self.tools.compile(f"{name}.c", f"{name}.o", level, includes)
        return f"{name}.o"

    def _take(self, name: str) -> None:
        # names in a table of 32-bit ARM share their ends (__aeabi_memcpy): left as they are
        if self.target.form is not Form.WASM and not self._is_arm32:
            path = self.work / name
            path.write_bytes(runtime_support.own(path.read_bytes()))
        self.objects.append(name)

    @property
    def _is_arm32(self) -> bool:
        return self.target.triple.startswith("arm-")

    def everything(self) -> list[str]:
        """Compile entry, kernels and generated code; return all objects.

        The C compiler works on a file per processor, TVM on its part meanwhile.
        """
        interface = self.lowered.interface
        m = interface.name
        headers = [level.header for level in self.levels]
        text = sources.native(interface, self.lowered.layouts, self.lowered.weights, headers)
        (self.work / f"{m}.h").write_text(text.header)
        (self.work / "table.h").write_text(text.table)
        files = [(f"{m}_entry", text.entry, self.levels[0])]
        files += [(f"{m}_{i.header}", text.kernels[i.header], i) for i in self.levels]
        with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            compiled = [pool.submit(self._compiled, *file) for file in files]
            generated = self._generated() if self.lowered.kernels else None
        for one in compiled:
            self._take(one.result())
        if generated:
            self._take(generated)
            self.source(f"{m}_math", runtime_support.text(rounding=self._is_arm32))
        return self.objects

    def _generated(self) -> str:
        name = f"{self.lowered.interface.name}_generated.o"
        described = tvm.target.Target({**self.target.tvm, **self.levels[0].tvm, **FAST_MATH})
        (self.work / name).write_bytes(tir.object_code(_named(self.lowered), described))
        return name


def _named(lowered: Lowered) -> Mapping[str, Any]:
    return {f"{lowered.interface.name}_t_{n}": f for n, f in lowered.kernels.items()}
