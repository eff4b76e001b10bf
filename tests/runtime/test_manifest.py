"""Sizes that follow from the number of steps."""

from __future__ import annotations

import pytest

from edgeseq.runtime._manifest import Tensor


@pytest.mark.parametrize(
    ("size", "steps", "expected"),
    [("T", 7, 7), ("T + 2", 7, 9), ("((T + 1) / 2)", 7, 4), ("T // 2", 7, 3), ("2*T - 1", 7, 13)],
)
def test_sizes_are_evaluated(size: str, steps: int, expected: int) -> None:
    assert Tensor("y", "float32", (1, size, 80), 1).at(steps) == (1, expected, 80)
