"""What a kernel family declares, so that lowering can call it and one generic test can test it.

A family file `kernels/<family>.py` defines `KERNELS: tuple[Kernel, ...]`. The C source
`kernels/c/<family>.c` defines each kernel as

    ES_FN void es_<name>(int size..., const float *restrict in..., float *restrict out..., ...)

with the sizes first and the pointers after them, in the order declared here.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Sizes = Mapping[str, int]

UNTOUCHED = -12345.0  # references put it where a kernel must leave an output's memory alone


class Role(enum.Enum):
    """What a pointer parameter is for."""

    IN = "in"
    CONST = "const"  # packed weights, 64-byte aligned
    OUT = "out"
    SCRATCH = "scratch"  # 64-byte aligned, contents undefined before and after


@dataclasses.dataclass(frozen=True)
class Arg:
    """One pointer parameter.

    Args:
        name: The C parameter.
        role: What it is for.
        dtype: numpy name of the element type.
        optional: The pointer may be 0: no such input, or an output nobody wants.
        may_be: On an OUT: the IN argument that may lie at the same address (a state in place).
    """

    name: str
    role: Role
    dtype: str = "float32"
    optional: bool = False
    may_be: str | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """One test case: sizes, the unpacked inputs by argument name, and the consts packed."""

    sizes: dict[str, int]
    arrays: dict[str, Array]  # IN and CONST arguments as the C function takes them
    raw: dict[str, Array]  # whatever `reference` needs (unpacked weights and so on)
    absent: frozenset[str] = frozenset()  # optional OUT arguments passed as 0; an IN by its absence


@dataclasses.dataclass(frozen=True)
class Sharing:
    """How threads share a kernel: `es_<name>_share` computes some panels of its outputs.

    Args:
        outputs: The size that counts the outputs.
        panel: Shares begin at multiples of so many outputs, which are multiples of a panel.
        work: Sizes and CONST arrays by name -> the work of each `panel` outputs, in any unit.
        steps: Of a recurrence, how many are projected together (c/shares.h); 0: no recurrence.
        prepared: Before a step, inputs and states are quantized.
        scratch: Every share has scratch memory of its own.
    """

    outputs: str
    panel: int
    work: Callable[[Sizes, Mapping[str, Array]], Array]
    steps: int = 0
    prepared: bool = False
    scratch: bool = False


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One C function and all that is needed to call and test it.

    Args:
        name: Symbol without the `es_` prefix.
        source: File under `kernels/c/`.
        sizes: Names of the leading `int` parameters, in order. `T` may be unknown at compile time.
        args: The pointer parameters, in order.
        scratch: Bytes of SCRATCH for given sizes; never falls as `T` grows, so that the value at
            the largest `T` serves all.
        out_shapes: Shapes of the OUT arguments for given sizes.
        reference: float64 reference: case -> {out name: array}.
        cases: Yields test cases: sizes below, at and above each tile, and odd ones.
        tolerance: Largest error relative to max(1, max|reference|); its reason stands beside it.
        sharing: How threads share it; None: they do not.
    """

    name: str
    source: str
    sizes: tuple[str, ...]
    args: tuple[Arg, ...]
    scratch: Callable[[Sizes], int]
    out_shapes: Callable[[Sizes], dict[str, tuple[int, ...]]]
    reference: Callable[[Case], dict[str, Array]]
    cases: Callable[[np.random.Generator], Iterable[Case]]
    tolerance: float
    sharing: Sharing | None = None
