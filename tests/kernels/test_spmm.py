"""Packing of sparse pointwise convolutions loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
from edgeseq.kernels import spmm
from hypothesis import given
from hypothesis import strategies as st


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(spmm.ROWS),
    st.sampled_from(spmm.ROWS),
    st.floats(0, 1),
    st.integers(0, 1 << 30),
)
def test_packed_weights_come_back(
    outputs: int, inputs: int, rows: int, made: int, density: float, seed: int
) -> None:
    """Whatever blocks the zeros were made in."""
    w = spmm.sparse(np.random.default_rng(seed), outputs, inputs, made, density)
    packed = spmm.pack(w, rows)
    assert np.array_equal(spmm.unpack(packed, outputs, inputs), w)
    assert packed.blocks == packed.counts.sum()
    most = spmm.stored(w, rows) + (3 * len(packed.counts) if rows == spmm.PANEL else 0)
    assert spmm.stored(w, rows) <= packed.blocks <= most


def test_a_weight_that_is_not_a_number_is_stored() -> None:
    w = np.array([[0, np.nan, 0]], np.float32)
    assert spmm.pack(w, 1).blocks == 1


def test_too_many_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="65537 inputs"):
        spmm.pack(np.zeros((1, 65537), np.float32), 1)
