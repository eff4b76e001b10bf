"""One of our kernels, compiled for this machine as lowering compiles it, called from C."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeseq import registry
from edgeseq.bench import memory
from edgeseq.bench.driver import Driver
from edgeseq.bench.harness import Array
from edgeseq.errors import ToolchainError
from edgeseq.kernels import _build
from edgeseq.kernels._family import Kernel, Role
from edgeseq.lower import cache, uses
from edgeseq.lower.calls import Wrapper
from edgeseq.lower.size import Size
from edgeseq.lower.toolchain import Toolchain
from edgeseq.runtime import host_target
from edgeseq.targets._target import Isa


def find_kernel(name: str) -> Kernel | None:
    """Return a kernel by its name, of whatever family declares it."""
    return _all().get(name)


@functools.cache
def _all() -> dict[str, Kernel]:
    modules = [registry.find("kernels", family) for family in registry.names("kernels")]
    return {k.name: k for module in modules for k in module.KERNELS}


def runnable(kernel: str) -> list[Isa]:
    """Return the levels of this machine that change a kernel, worst first."""
    return [
        isa
        for isa in registry.find("targets", host_target()).TARGET.isas
        if (found := _by_header().get(isa.header)) is not None
        and found.only in kernel
        and found.missing() is None
    ]


def best_isa(kernel: str) -> Isa:
    """Return the widest instruction set of this machine for a kernel.

    Raises:
        ToolchainError: this machine has none.
    """
    found = runnable(kernel)
    if not found:
        raise ToolchainError(
            "the kernels cannot be timed on this processor",
            why=f"it has none of the instruction sets of target '{host_target()}'",
            fix="time a compiled model with `edgeseq bench model`",
        )
    return max(found, key=lambda isa: len(_by_header()[isa.header].needs))


def _by_header() -> dict[str, _build.Isa]:
    """What the tests of the kernels know about this kind of machine's instruction sets."""
    usual = [i for i in _build.ISAS if i.native and not i.gcc and i.define.startswith("ES_ISA_")]
    return {i.define.removeprefix("ES_ISA_").lower(): i for i in usual}


@dataclasses.dataclass(frozen=True)
class Call:
    """A kernel with its arguments.

    Args:
        kernel: The kernel.
        sizes: All its int parameters.
        consts: CONST arguments by name, packed; what is missing is NULL.
        frames: IN arguments by name of each call in turn; what is missing is NULL.
        states: IN arguments that are carried: the OUT argument that may be the same memory is.
        absent: OUT arguments that nobody wants.
    """

    kernel: Kernel
    sizes: Mapping[str, int]
    consts: Mapping[str, Array]
    frames: Sequence[Mapping[str, Array]]
    states: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    absent: frozenset[str] = frozenset()

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the pointers that are not NULL, in order."""
        given = {*self.consts, *self.frames[0], *self.states}
        return tuple(
            a.name
            for a in self.kernel.args
            if a.role is Role.SCRATCH
            or (a.role is Role.OUT and a.name not in self.absent)
            or a.name in given
        )


class Native:
    """A side of the harness: the kernel at fixed sizes.

    Args:
        call: What to time.
        isa: Instruction set, one of `runnable()`.
        open_sizes: Sizes that the compiler is not to know; the others are literals.
    """

    def __init__(self, call: Call, isa: Isa, open_sizes: Sequence[str] = ()) -> None:
        self._initial = {n: np.array(a, order="C") for n, a in call.states.items()}
        self._states = {n: _aligned(a) for n, a in self._initial.items()}
        self._results = self._allocate(call)
        consts = {n: _aligned(a) for n, a in call.consts.items()}
        shared = {**consts, **self._states, **self._results}
        self._calls = [
            {**{n: np.ascontiguousarray(a) for n, a in f.items()}, **shared} for f in call.frames
        ]
        self._library = compile_call(call, isa, open_sizes)
        address = ctypes.cast(self._library.edgeseq_bench, ctypes.c_void_p).value
        sizes = [call.sizes[n] for n in open_sizes]
        rows = [[*sizes, *(frame[n].ctypes.data for n in call.passed)] for frame in self._calls]
        is_size = [True] * len(sizes) + [False] * len(call.passed)
        self._driver = Driver(address or 0, rows, is_size, self._calls)
        self._outputs = [
            a.name for a in call.kernel.args if a.role is Role.OUT and a.name in self._results
        ]

    def reset(self) -> None:
        """Go back to the initial state."""
        for name, value in self._initial.items():
            self._states[name][...] = value

    def time(self, calls: int) -> float:
        """See `harness.Side`."""
        return self._driver.time(calls)

    def each(self, calls: int) -> Array:
        """See `harness.Side`."""
        return self._driver.each(calls)

    def cold(self) -> float:
        """See `harness.Side`."""
        memory.evict()
        return float(self._driver.each(1)[0])

    def outputs(self, calls: int) -> dict[str, Array]:
        """See `harness.Side`."""
        self.reset()
        self._driver.time(calls)
        return {n: np.array(self._results[n]) for n in self._outputs}

    def _allocate(self, call: Call) -> dict[str, Array]:
        shapes = call.kernel.out_shapes(call.sizes)
        out = {}
        for arg in call.kernel.args:
            if arg.role is Role.SCRATCH:
                out[arg.name] = _aligned(np.zeros(call.kernel.scratch(call.sizes), np.uint8))
            elif arg.role is Role.OUT and arg.name not in call.absent:
                in_place = arg.may_be in self._states
                out[arg.name] = (
                    self._states[str(arg.may_be)]
                    if in_place
                    else _aligned(np.zeros(shapes[arg.name], arg.dtype))
                )
        return out


def compile_call(call: Call, isa: Isa, open_sizes: Sequence[str]) -> ctypes.CDLL:
    """Compile `int edgeseq_bench(open sizes..., pointers...)`, or take it from the cache."""
    text = source(call, isa, open_sizes, "edgeseq_bench")
    target = registry.find("targets", host_target()).TARGET
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        tools = Toolchain(target, place)
        name = cache.key("bench", tools.compiler.identity(), isa.cpu, text)
        if cache.fetch(name, place) is None:
            (place / "kernel.c").write_text(text, encoding="utf-8")
            tools.compile("kernel.c", "kernel.o", isa, [_build.C_FOLDER])
            tools.shared(["kernel.o"], "kernel.so", ["edgeseq_bench"])
            cache.store(name, place, ["kernel.so"])
        return ctypes.CDLL(str(place / "kernel.so"))


def source(call: Call, isa: Isa, open_sizes: Sequence[str], name: str) -> str:
    """Return C of `int name(open sizes..., pointers...)`, which makes the call; 0."""
    kernel, passed = call.kernel, call.passed
    parameters = [f"int64_t {n}" for n in open_sizes] + [f"void *{n}" for n in passed]
    head = f"int {name}({', '.join(parameters)})"
    sizes = [Size(0, n) if n in open_sizes else Size.of(call.sizes[n]) for n in kernel.sizes]
    null = [a.name not in passed for a in kernel.args]
    wrapper = Wrapper(kernel, tuple(sizes), tuple(null))
    lines = [
        f"#define ES_ISA_{isa.header.upper()} 1",
        *uses.defines([wrapper]),
        f'#include "{kernel.source}"',
        f'__attribute__((visibility("default"))) {head} {{',
        f"  {wrapper.body()}",
        "  return 0;",
        "}",
    ]
    return "\n".join([*lines, ""])


def _aligned(array: Array) -> Array:
    """A copy that starts on 64 bytes."""
    memory_ = np.zeros(array.nbytes + 64, np.uint8)
    start = -memory_.ctypes.data % 64
    copy = memory_[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
