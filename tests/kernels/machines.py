"""Where compiled kernels run: here, under QEMU, as WebAssembly, or watched by sanitizers.

A machine takes the memory of one call as blocks of whole pages and gives them back as the call
left them. Around every block there is memory that must not be touched: pages without access where
there are pages, guard bytes in WebAssembly.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from edgeseq.kernels._build import ISAS
from edgeseq.kernels._family import Array

GUARD = 0xA5
PAGE = mmap.PAGESIZE
Pointer = tuple[int, int] | None  # block and offset in it; None: a null pointer


SANITIZED = "sanitized"  # in the place of an instruction set's name


class Machine(Protocol):
    """Calls a kernel.

    Args:
        page: Blocks are multiples of so many bytes.
        ends: At which ends of a block accesses beyond it are seen; False: at its start.
    """

    page: int
    ends: tuple[bool, ...]

    def call(
        self, name: str, sizes: Sequence[int], blocks: Sequence[Array], pointers: Sequence[Pointer]
    ) -> None:
        """Call `name`; the blocks' contents become what it left."""


class Native:
    """A shared library in this process: touching what is not its own is a segmentation fault."""

    page, ends = PAGE, (True, False)

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def call(
        self, name: str, sizes: Sequence[int], blocks: Sequence[Array], pointers: Sequence[Pointer]
    ) -> None:
        maps = [mmap.mmap(-1, len(block) + 2 * PAGE) for block in blocks]
        bases = [ctypes.addressof(ctypes.c_char.from_buffer(m)) for m in maps]
        inside = [np.frombuffer(m, np.uint8)[PAGE:-PAGE] for m in maps]
        for there, block in zip(inside, blocks, strict=True):
            there[:] = block
        self._protect(bases, blocks, 0)
        addresses = [p and bases[p[0]] + PAGE + p[1] for p in pointers]
        getattr(self.library, name)(
            *map(ctypes.c_int, sizes), *(ctypes.c_void_p(a) for a in addresses)
        )
        self._protect(bases, blocks, mmap.PROT_READ | mmap.PROT_WRITE)
        for there, block in zip(inside, blocks, strict=True):
            block[:] = there

    def _protect(self, bases: Sequence[int], blocks: Sequence[Array], mode: int) -> None:
        for base, block in zip(bases, blocks, strict=True):
            for at in (base, base + PAGE + len(block)):
                assert self.libc.mprotect(at, PAGE, mode) == 0


class Program:
    """A program made of the kernels and `driver.c`, under QEMU, or `sanitized.c`."""

    ends: tuple[bool, ...] = (True, False)

    def __init__(self, command: Sequence[str], names: Sequence[str], page: int = PAGE) -> None:
        self.names = list(names)
        self.page = page
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(
        self, name: str, sizes: Sequence[int], blocks: Sequence[Array], pointers: Sequence[Pointer]
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        places = [word for p in pointers for word in (p or (-1, 0))]
        head = [self.names.index(name), len(sizes), len(blocks), len(pointers)]
        words = [*head, *sizes, *(len(b) for b in blocks), *places]
        self.process.stdin.write(struct.pack(f"<{len(words)}i", *words))
        for block in blocks:
            self.process.stdin.write(block.tobytes())
        self.process.stdin.flush()
        for block in blocks:
            there = self.process.stdout.read(len(block))
            if len(there) != len(block):
                raise ChildProcessError(f"the program ended: {self.process.wait()}")
            block[:] = np.frombuffer(there, np.uint8)


class Wasm:
    """A module under wasmtime; what it touches outside of the blocks shows in guard bytes."""

    page, ends = PAGE, (True, False)

    def __init__(self, module: Path) -> None:
        import wasmtime

        config = wasmtime.Config()
        config.wasm_relaxed_simd = True
        engine = wasmtime.Engine(config)
        self.store = wasmtime.Store(engine)
        loaded = wasmtime.Module.from_file(engine, str(module))
        assert list(loaded.imports) == []
        self.exports: Any = wasmtime.Instance(self.store, loaded, []).exports(self.store)
        self.start = -(-self.exports["__heap_base"].value(self.store) // PAGE) * PAGE

    def call(
        self, name: str, sizes: Sequence[int], blocks: Sequence[Array], pointers: Sequence[Pointer]
    ) -> None:
        starts, end = [], self.start + PAGE
        for block in blocks:
            starts.append(end)
            end += len(block) + PAGE
        memory = self._memory(end)
        memory[self.start : end] = GUARD
        for start, block in zip(starts, blocks, strict=True):
            memory[start : start + len(block)] = block
        addresses = [0 if p is None else starts[p[0]] + p[1] for p in pointers]
        self.exports[name](self.store, *sizes, *addresses)
        for start, block in zip(starts, blocks, strict=True):
            block[:] = memory[start : start + len(block)]
            memory[start : start + len(block)] = GUARD
        assert (memory[self.start : end] == GUARD).all(), "wrote outside all arrays"

    def _memory(self, end: int) -> Array:
        memory = self.exports["memory"]
        missing = end - memory.data_len(self.store)
        if missing > 0:
            memory.grow(self.store, -(-missing // 65536))
        kind = ctypes.c_uint8 * memory.data_len(self.store)
        address = ctypes.addressof(memory.data_ptr(self.store).contents)
        return np.frombuffer(kind.from_address(address), np.uint8)


class Sanitized(Program):
    """A program with AddressSanitizer, which sees the byte after a block of any size."""

    ends = (True,)

    def __init__(self, program: Path, names: Sequence[str]) -> None:
        super().__init__([str(program)], names, page=64)  # what scratch is aligned to


def start(isa: str, library: Path, names: Sequence[str]) -> Machine:
    """The machine for what was compiled for an instruction set."""
    if isa == SANITIZED:
        return Sanitized(library, names)
    found = next(i for i in ISAS if i.name == isa)
    if found.runner == "wasmtime":
        return Wasm(library)
    if found.emulator:
        return Program([*found.emulator, str(library)], names)
    return Native(library)
