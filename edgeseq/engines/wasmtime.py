"""WebAssembly in this process, by the wasmtime package."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeseq.engines._engine import Engine, Machine
from edgeseq.engines._raw import Raw
from edgeseq.errors import ToolchainError, UsageError
from edgeseq.runtime import Manifest


def _start(manifest: Manifest, target: str, steps: int) -> Machine:
    del steps
    folder, m = manifest.folder / target, manifest.name
    # the one for every engine, but where --isa left it out
    found = sorted(folder.glob("*.wasm"), key=lambda file: file.name != f"{m}.wasm")
    return Raw(manifest, Module(found[0] if found else folder / f"{m}.wasm", m))


ENGINE = Engine("WebAssembly in the wasmtime package", ("wasm",), _start)


class Module:
    """One instance with its weights; memory for a call follows its heap base.

    Args:
        file: The module; its weights stand beside it.
        name: The model's.
    """

    def __init__(self, file: Path, name: str) -> None:
        try:
            import wasmtime
        except ModuleNotFoundError:
            raise ToolchainError(
                "wasmtime is not installed", fix="pip install wasmtime, or use --engine node"
            ) from None
        config = wasmtime.Config()
        config.wasm_relaxed_simd = True
        engine = wasmtime.Engine(config)
        self._store = wasmtime.Store(engine)
        self._m = name
        try:
            module = wasmtime.Module.from_file(engine, str(file))
        except wasmtime.WasmtimeError as error:
            raise UsageError(
                f"'{file}' is not a whole WebAssembly module", why=str(error), fix="compile again"
            ) from None
        self._trap = (wasmtime.Trap, wasmtime.WasmtimeError)
        self._exports: Any = wasmtime.Instance(self._store, module, []).exports(self._store)
        self._heap = -(-self._global("__heap_base") // 64) * 64
        self._fill(file.with_name(f"{name}.weights.bin"))

    def size(self, name: str, *numbers: int) -> int:
        """See `_raw.Calls`."""
        return int(self._function(name)(self._store, *numbers)) & 0xFFFFFFFF

    def text(self, name: str, *numbers: int) -> str:
        """See `_raw.Calls`."""
        at = self.size(name, *numbers)
        memory = self._memory(0)
        return bytes(memory[at : bytes(memory).index(b"\0", at)]).decode()

    def call(self, name: str, blocks: Sequence[bytearray], steps: int | None = None) -> int:
        """See `_raw.Calls`."""
        starts, end = [], self._heap
        for block in blocks:
            starts.append(end)
            end += -(-max(len(block), 1) // 64) * 64
        memory = self._memory(end)
        for start, block in zip(starts, blocks, strict=True):
            memory[start : start + len(block)] = block
        given = starts if steps is None else [*starts[:2], steps, *starts[2:]]
        try:
            code = int(self._function(name)(self._store, *given))
        except self._trap as error:
            raise UsageError(f"'{self._m}' trapped in {name}", why=str(error)) from None
        memory = self._memory(0)
        for start, block in zip(starts, blocks, strict=True):
            block[:] = bytes(memory[start : start + len(block)])
        return code

    def close(self) -> None:
        """See `_raw.Calls`."""

    def _function(self, name: str) -> Any:
        return self._exports[f"{self._m}_{name}"]

    def _global(self, name: str) -> int:
        return int(self._exports[name].value(self._store))

    def _fill(self, file: Path) -> None:
        try:
            weights = file.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read '{file}'", why=str(error), fix="compile again") from None
        start = self._global(f"{self._m}_weights")
        memory = self._memory(0)
        if start + len(weights) <= len(memory):
            memory[start : start + len(weights)] = weights
        if self.size("weights_differ"):
            raise UsageError(
                f"'{file}' does not hold the weights of this module", fix="compile again"
            )

    def _memory(self, end: int) -> memoryview:
        memory = self._exports["memory"]
        missing = end - memory.data_len(self._store)
        if missing > 0:
            memory.grow(self._store, -(-missing // 65536))
        kind = ctypes.c_uint8 * memory.data_len(self._store)
        address = ctypes.addressof(memory.data_ptr(self._store).contents)
        return memoryview(kind.from_address(address)).cast("B")
