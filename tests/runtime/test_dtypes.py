"""What converts at the boundary, and what does not."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseq.errors import UsageError
from edgeseq.runtime import _dtypes


@pytest.mark.parametrize("name", sorted(_dtypes.NAMES - {"bfloat16"}))
def test_every_dtype_passes_unchanged(name: str) -> None:
    x = np.array([0, 1], name)
    assert _dtypes.encode(x, name, "x") is x
    assert _dtypes.decode(x, name) is x


@pytest.mark.parametrize(
    ("given_dtype", "want"),
    [("float64", "float32"), ("float16", "float32"), ("int64", "int32"), ("uint8", "int64")],
)
def test_same_kind_converts(given_dtype: str, want: str) -> None:
    got = _dtypes.encode(np.array([0, 3], given_dtype), want, "x")
    assert got.dtype == want
    assert got.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("given_dtype", "want"),
    [
        ("int64", "float32"),
        ("float32", "int64"),
        ("bool", "float32"),
        ("bool", "int32"),
        ("int8", "bool"),
        ("complex64", "float32"),
        ("<U1", "float32"),
    ],
)
def test_kinds_do_not_mix(given_dtype: str, want: str) -> None:
    with pytest.raises(UsageError, match=f"'x' must be {want}, got {np.dtype(given_dtype)}"):
        _dtypes.encode(np.ones(2, given_dtype), want, "x")


def test_integers_must_fit() -> None:
    with pytest.raises(UsageError, match="values from -1 to 300"):
        _dtypes.encode([-1, 300], "uint8", "x")


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_bfloat16_rounds_as_ml_dtypes_does(values: list[float]) -> None:
    x = np.array(values, np.float32)
    got = _dtypes.decode(_dtypes.encode(x, "bfloat16", "x"), "bfloat16")
    with np.errstate(over="ignore"):
        want = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(got, want)


def test_bfloat16_arrays_are_taken_too() -> None:
    x = np.array([1.5, -2], ml_dtypes.bfloat16)
    np.testing.assert_array_equal(_dtypes.encode(x, "bfloat16", "x"), x.view(np.uint16))
