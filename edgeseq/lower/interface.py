"""What the compiled model looks like from outside: names, shapes, states."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from edgeseq.lower.size import Size

ABI = 1
HEADER = 64
CTYPES = {
    "float32": "float",
    "float64": "double",
    "float16": "uint16_t",
    "bfloat16": "uint16_t",
    "bool": "uint8_t",
    **{f"{u}int{b}": f"{u}int{b}_t" for u in ("", "u") for b in (8, 16, 32, 64)},
}
BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "bool": 1} | {
    f"{u}int{b}": b // 8 for u in ("", "u") for b in (8, 16, 32, 64)
}
# Words of C and C++, and the names that emitted functions use themselves.
_RESERVED = frozenset(
    """
    auto break case char class const continue default delete do double else enum error extern float
    for goto if inline int long new register restrict return short signed sizeof static struct
    switch template this typedef union unsigned void volatile while
    T a arena b error h i k level s state t w
    """.split()
)


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output. `shape` holds ints and, on the time axis, "T"."""

    name: str
    c_name: str
    dtype: str
    shape: tuple[int | str, ...]
    time_axis: int | None

    @property
    def c_type(self) -> str:
        """Element type in C."""
        return CTYPES[self.dtype]

    def elements(self) -> Size:
        """Number of elements of one call."""
        known = math.prod(d for d in self.shape if isinstance(d, int))
        unknown = [Size(0, d if d == "T" else f"({d})") for d in self.shape if isinstance(d, str)]
        total = Size.of(known)
        for u in unknown:
            total = total * u
        return total


@dataclasses.dataclass(frozen=True)
class State:
    """A carried value: where it stands in the state memory and how it starts."""

    input: str
    output: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    init: bytes | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the value."""
        return math.prod(self.shape) * BYTES[self.dtype]


@dataclasses.dataclass(frozen=True)
class Interface:
    """All that the header and the manifest say about calling the model."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[State, ...]
    model_hash: str
    step: bool
    step_reason: str | None
    graph: bool
    min_t: int
    max_t: int
    passes: tuple[str, ...]
    threads: int = 1  # that may share a layer

    @property
    def state_size(self) -> int:
        """Bytes of the state memory, header included."""
        end = max((s.offset + s.nbytes for s in self.states), default=HEADER)
        return -(-end // 64) * 64


def c_identifier(text: str) -> str:
    """A valid C identifier close to `text`."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "model"
    if name[0].isdigit():
        name = f"m{name}"
    return f"{name}_" if name in _RESERVED or name.startswith("slot") else name


def c_names(names: Sequence[str]) -> list[str]:
    """Distinct C identifiers for `names`, in order."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate = base = c_identifier(name)
        count = 2
        while candidate in taken:
            candidate, count = f"{base}_{count}", count + 1
        taken.add(candidate)
        result.append(candidate)
    return result
