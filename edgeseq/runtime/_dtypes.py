"""Element types at the boundary, and which numpy arrays may become which.

numpy has no bfloat16: such values are float32 arrays on the user's side and uint16 in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError

Array = npt.NDArray[Any]

_FLOATS = {"float16", "float32", "float64", "bfloat16"}
_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
NAMES = frozenset(_FLOATS | _INTEGERS | {"bool"})


def memory(name: str) -> np.dtype[Any]:
    """Return the numpy type with this dtype's layout in memory."""
    return np.dtype("uint16" if name == "bfloat16" else name)


def encode(x: object, dtype: str, name: str) -> Array:
    """Turn what the user gave for tensor `name` into a contiguous array of the memory type.

    Floats change precision; integers change width when every value fits. Nothing else converts.

    Raises:
        UsageError: the kind of number differs, or an integer does not fit.
    """
    given = np.asarray(x)
    if _kind(given.dtype.name) != _kind(dtype):
        raise UsageError(
            f"'{name}' must be {dtype}, got {given.dtype}",
            why="edgeseq converts between float types and between integer types only",
            fix=f"{name}.astype(numpy.{'float32' if dtype == 'bfloat16' else dtype})",
        )
    if dtype == "bfloat16":
        return _to_bfloat16(given)
    cast = np.require(given, memory(dtype), ["C", "A"])
    if dtype in _INTEGERS and cast is not given and not np.array_equal(cast, given):
        raise UsageError(
            f"'{name}' must be {dtype}, got {given.dtype} values from {given.min()} to "
            f"{given.max()}",
            why="a value does not fit",
        )
    return cast


def decode(memory_array: Array, dtype: str) -> Array:
    """Turn an array of the memory type into what the user sees (a copy only for bfloat16)."""
    if dtype != "bfloat16":
        return memory_array
    return (memory_array.astype(np.uint32) << 16).view(np.float32)


def check_shape(
    got: Sequence[int], expected: Sequence[int | str], name: str, fix: str = ""
) -> None:
    """Raise a UsageError unless `got` is `expected`, in which a string stands for any size."""
    same = len(got) == len(expected) and all(
        isinstance(e, str) or e == g for g, e in zip(got, expected, strict=True)
    )
    if not same:
        raise UsageError(
            f"'{name}' must have the shape {shape_text(expected)}, got {shape_text(got)}", fix=fix
        )


def shape_text(shape: Sequence[int | str]) -> str:
    """`[1, T, 80]`."""
    return f"[{', '.join(map(str, shape))}]"


def _kind(dtype_name: str) -> str:
    for kind, names in (("float", _FLOATS), ("integer", _INTEGERS)):
        if dtype_name in names:
            return kind
    return dtype_name


def _to_bfloat16(x: Array) -> Array:
    """Round to nearest, ties to even; NaN stays NaN."""
    wide = np.ascontiguousarray(x, dtype=np.float32)
    bits = wide.view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(wide), 0x7FC0, rounded).astype(np.uint16)
