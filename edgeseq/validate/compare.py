"""One array against another: largest difference, where, and at which step it began."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.validate.finding import Finding

Array = npt.NDArray[Any]


def tolerance(limits: Mapping[str, float]) -> float:
    """Four times the error of float32, and never less than a millionth of the range."""
    return max(4 * limits["e_ref"], 1e-6 * limits["range"])


def compare(
    check: str, name: str, want: Array, got: Array | None, allowed: float, axis: int | None
) -> Finding:
    """Compare one output with its reference.

    Args:
        check: Name of the check.
        name: Name of the output.
        want: The reference.
        got: The compiled result; None where it is missing.
        allowed: Largest absolute difference; integers and booleans must be equal.
        axis: Axis of time, None where there is none.
    """
    if got is None:
        return _refuse(check, name, allowed, "the output is missing")
    if got.shape != want.shape:
        shapes = f"shape {list(got.shape)} instead of {list(want.shape)}"
        return _refuse(check, name, allowed, shapes)
    if got.dtype.kind != want.dtype.kind and "f" in (got.dtype.kind, want.dtype.kind):
        return _refuse(check, name, allowed, f"type {got.dtype} instead of {want.dtype}")
    if not want.size:
        return Finding(check, name, True, 0.0, allowed)
    allowed = allowed if want.dtype.kind == "f" else 0.0
    difference = _difference(want, got)
    worst = np.unravel_index(int(difference.argmax()), difference.shape)
    error = float(difference[worst])
    index = tuple(int(i) for i in worst)
    ok = error <= allowed
    step = None if ok or axis is None else _first_step(difference, allowed, axis)
    return Finding(
        check, name, ok, error, allowed, index, want[worst].item(), got[worst].item(), step
    )


def _refuse(check: str, name: str, allowed: float, reason: str) -> Finding:
    return Finding(check, name, False, math.inf, allowed, reason=reason)


def _difference(want: Array, got: Array) -> Array:
    """Absolute differences; equal infinities and NaN in both places count as equal."""
    left, right = want.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(left - right)
    same = (want == got) | (np.isnan(left) & np.isnan(right))
    undefined = np.isnan(difference) | np.isinf(difference)
    if want.dtype.kind != "f":  # large integers may differ by less than float64 shows
        difference = np.maximum(difference, 1.0)
    return np.where(same, 0.0, np.where(undefined, np.inf, difference))


def _first_step(difference: Array, allowed: float, axis: int) -> int:
    others = tuple(i for i in range(difference.ndim) if i != axis)
    per_step = difference.max(axis=others) if others else difference
    return int(np.argmax(per_step > allowed))
