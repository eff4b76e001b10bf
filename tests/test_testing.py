from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeseq.testing import assert_outputs

X = np.array([1.0, 2.0, np.inf], np.float32)
N = np.array([1, 2], np.int32)


def test_equal_outputs_pass() -> None:
    assert_outputs({"x": X, "n": N}, {"x": X, "n": N}, tolerance=0)
    assert_outputs({"x": X + np.float32(1e-3)}, {"x": X}, tolerance=1e-3)


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ({"x": X}, "missing outputs: n"),
        ({"x": X, "n": N, "z": N}, "unexpected outputs: z"),
        ({"x": X[:2], "n": N}, r"x: shape \(2,\) instead of \(3,\)"),
        ({"x": X + np.array([0, 0.1, 0]), "n": N}, r"x: off by 0.1 .* at \[1\]"),
        ({"x": np.array([1, np.nan, np.inf]), "n": N}, r"x: off by inf .* at \[1\]"),
        ({"x": np.array([1, 2, 3.0]), "n": N}, "x"),
        ({"x": X, "n": N + 1}, "n"),
    ],
)
def test_differences_fail(got: dict[str, Any], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        assert_outputs(got, {"x": X, "n": N}, tolerance=1e-3)


def test_no_tolerance_means_equality() -> None:
    with pytest.raises(AssertionError):
        assert_outputs({"x": X * np.float32(1 + 1e-7)}, {"x": X}, tolerance=0)
