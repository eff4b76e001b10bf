"""What a target declares."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Isa:
    """One instruction-set level that hand-written kernels are compiled for.

    Args:
        level: The user's name, e.g. `x86-64-v3`.
        header: The file in `kernels/c/simd/`, without `.h`.
        cpu: The compiler's name (`-mcpu` of zig).
        tvm: Entries of TVM's target dict that select this level for generated code.
        flags: What a compiler that is not zig takes instead of `cpu`.
        int8: It differs from the level before it for int8 kernels alone.
    """

    level: str
    header: str
    cpu: str
    tvm: Mapping[str, object]
    flags: tuple[str, ...] = ()
    int8: bool = False


ARMV8 = (
    Isa("neon", "neon", "generic", {"mattr": ["+neon"]}),
    Isa(
        "neon-dotprod",
        "neondot",
        "generic+dotprod",
        {"mattr": ["+neon"]},
        ("-march=armv8.2-a+dotprod",),
        int8=True,
    ),
)
"""Of 64-bit ARM, whoever made it: what every processor has, and dot products of int8."""


class Form(enum.Enum):
    """What the compiled files of a target are."""

    SOURCE = "source"  # C that the user compiles
    SHARED = "shared"  # a static and a shared ELF library
    STATIC = "static"  # a static library
    WASM = "wasm"  # one module per level, and the weights beside them


@dataclasses.dataclass(frozen=True)
class Target:
    """One target; `TARGET` of its file.

    Args:
        name: What users type.
        summary: One line for `edgeseq targets`.
        triple: The compiler's triple; empty for C source.
        tvm: TVM target dict without the level.
        isas: Levels, worst first; hand-written kernels are dispatched over those from `generated`
            on, at init.
        generated: Level of the code that TVM generates: the least that the library runs on.
        machines: `platform.machine()` names that run it natively.
        form: What the compiled files are.
        link: Further flags of the linker.
        package: Module of `edgeseq.packages` that writes what a developer's tools expect around
            the library; "" for none.
        threads: Threads can share its layers (`--threads`).
        engines: Modules of `edgeseq.engines` that run it on another machine, the usual one first.
    """

    name: str
    summary: str
    triple: str
    tvm: Mapping[str, object]
    isas: tuple[Isa, ...]
    generated: str
    machines: tuple[str, ...]
    form: Form = Form.SHARED
    link: tuple[str, ...] = ()
    package: str = ""
    threads: bool = True
    engines: tuple[str, ...] = ()

    @property
    def source_only(self) -> bool:
        """Whether the artifact is C source and nothing is compiled."""
        return not self.triple

    def dispatched(self, fixed: str | None, *, int8: bool = False) -> tuple[Isa, ...]:
        """The levels to build for: `fixed` alone, or all from `generated` on.

        Args:
            fixed: The user's choice, or None.
            int8: The model has int8 kernels; without them their levels would be copies of others.
        """
        if fixed is not None:
            return tuple(i for i in self.isas if i.level == fixed)
        start = [i.level for i in self.isas].index(self.generated) if self.isas else 0
        return tuple(i for i in self.isas[start:] if int8 or not i.int8)
