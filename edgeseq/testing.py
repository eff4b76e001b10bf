"""Comparing numbers in tests: the tolerance is always said, and nothing is left out silently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def assert_outputs(
    got: Mapping[str, Array], want: Mapping[str, Array], *, tolerance: float
) -> None:
    """Assert that two sets of named arrays are the same up to `tolerance * max(1, max |want|)`.

    Args:
        got: The results.
        want: The reference.
        tolerance: 0 asks for equality. Integers and booleans must always be equal.

    Raises:
        AssertionError: a name is missing on either side, a shape differs, or a number is off.
    """
    missing, extra = sorted(want.keys() - got.keys()), sorted(got.keys() - want.keys())
    assert not missing, f"missing outputs: {', '.join(missing)}"
    assert not extra, f"unexpected outputs: {', '.join(extra)}"
    for name, expected in want.items():
        assert_array(got[name], expected, name, tolerance=tolerance)


def assert_array(got: Array, want: Array, name: str, *, tolerance: float) -> None:
    """Assert that one array is another up to `tolerance * max(1, max |want|)`.

    Raises:
        AssertionError: names the worst element.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{name}: shape {got.shape} instead of {want.shape}"
    if want.dtype.kind != "f" or tolerance == 0:
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite], err_msg=name)
    scale = max(1.0, float(np.abs(want[finite]).max(initial=0.0)))
    difference = np.where(finite, np.abs(got.astype(np.float64) - np.where(finite, want, 0)), 0)
    difference = np.where(np.isnan(difference), np.inf, difference)
    if difference.max(initial=0.0) > tolerance * scale:
        worst = np.unravel_index(int(difference.argmax()), difference.shape)
        at = [int(i) for i in worst]
        raise AssertionError(
            f"{name}: off by {difference[worst]:.3g} (allowed {tolerance * scale:.3g}) at {at}: "
            f"got {got[worst]}, want {want[worst]}"
        )
