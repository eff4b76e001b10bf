"""Slices as rows of the tensor they are slices of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tvm import te

from edgeseq.lower.rows import Rows, compose, of_copy
from edgeseq.lower.size import Size


def rows(count: int, row: int, stride: int) -> Rows:
    return Rows(Size.of(count), Size.of(row), Size.of(stride))


def sliced(shape: tuple[int, ...], window: tuple[slice, ...]) -> object:
    """A TIR function that copies a slice."""
    x = te.placeholder(shape, name="x")
    starts = [w.indices(n)[0] for w, n in zip(window, shape, strict=True)]
    out = [len(range(*w.indices(n))) for w, n in zip(window, shape, strict=True)]
    y = te.compute(out, lambda *i: x(*(a + k for a, k in zip(starts, i, strict=True))), name="y")
    return te.create_prim_func([x, y])


def gather(memory: np.ndarray, offset: int, found: Rows) -> np.ndarray:
    """What the rows hold."""
    count, row, stride = found.numbers() or (0, 0, 0)
    return np.concatenate([memory[offset + i * stride :][:row] for i in range(count)])


@pytest.mark.parametrize(
    "window",
    [
        (slice(0, 4), slice(2, 5), slice(0, 6)),
        (slice(1, 2), slice(2, 5), slice(0, 6)),
        (slice(0, 4), slice(0, 5), slice(1, 3)),
        (slice(1, 3), slice(0, 5), slice(0, 6)),
        (slice(2, 3), slice(3, 4), slice(4, 5)),
    ],
)
def test_a_slice_along_one_axis_is_rows(window: tuple[slice, ...]) -> None:
    shape = (4, 5, 6)
    memory = np.arange(120, dtype=np.float32)
    found = of_copy(sliced(shape, window), 1)
    assert found is not None
    assert (gather(memory, *found) == memory.reshape(shape)[window].ravel()).all()


def test_slices_along_two_inner_axes_have_no_rows() -> None:
    assert of_copy(sliced((4, 5, 6), (slice(0, 4), slice(1, 3), slice(1, 3))), 4) is None


def test_a_transpose_has_no_rows() -> None:
    x = te.placeholder((4, 5), name="x")
    y = te.compute((5, 4), lambda i, j: x[j, i], name="y")
    assert of_copy(te.create_prim_func([x, y]), 4) is None


def test_arithmetic_is_no_copy() -> None:
    x = te.placeholder((4,), name="x")
    y = te.compute((4,), lambda i: x[i] + 1.0, name="y")
    assert of_copy(te.create_prim_func([x, y]), 4) is None


@given(
    outer=st.tuples(st.integers(1, 5), st.integers(1, 8), st.integers(0, 5)),
    inner=st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(0, 20)),
    offset=st.integers(0, 20),
)
def test_rows_of_rows_hold_what_a_copy_of_a_copy_holds(
    outer: tuple[int, int, int], inner: tuple[int, int, int], offset: int
) -> None:
    a = rows(outer[0], outer[1], outer[1] + outer[2])
    b = rows(inner[0], inner[1], inner[1] + inner[2])
    memory = np.arange(400)
    dense = gather(memory, 0, a)
    end = offset + (inner[0] - 1) * (inner[1] + inner[2]) + inner[1]
    if end > dense.size:
        return
    found = compose(a, offset, b)
    if found is not None:
        assert (gather(memory, *found) == gather(dense, offset, b)).all()


def test_all_of_a_slice_under_another_shape_is_that_slice() -> None:
    a = rows(3, 8, 20)
    assert compose(a, 0, Rows.dense(Size.of(24))) == (0, a)
