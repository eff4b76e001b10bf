"""Packing loses nothing, and puts things where the C code reads them."""

from __future__ import annotations

import numpy as np
import pytest
from edgeseq.kernels import gemm, gru, lstm, rnn
from edgeseq.kernels._family import Array

HIDDEN = [1, 3, 4, 5, 15, 16, 17, 31, 48, 50]


def draw(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("outputs", [1, 4, 17, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("inputs", [0, 1, 7])
def test_gemm(inputs: int, outputs: int) -> None:
    w, bias = draw(inputs, outputs), draw(outputs)
    packed = gemm.pack(w, bias)
    assert packed.size == (1 + inputs) * (outputs + -outputs % 4) + 12
    for got, want in zip(gemm.unpack(packed, inputs, outputs), (w, bias), strict=True):
        np.testing.assert_array_equal(got, want)


def test_gemm_puts_the_bias_before_each_panel() -> None:
    w, bias = draw(2, 34), draw(34)
    packed = gemm.pack(w, bias)
    np.testing.assert_array_equal(packed[:96].reshape(3, 32), np.vstack([bias, w])[:, :32])
    np.testing.assert_array_equal(packed[96:108].reshape(3, 4)[:, :2], np.vstack([bias, w])[:, 32:])


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("reset_first", [False, True])
def test_gru(hidden: int, reset_first: bool) -> None:
    w, r, b = draw(2, 3 * hidden, 5), draw(2, 3 * hidden, hidden), draw(2, 6 * hidden)
    packed = gru.pack(w, r, b, reset_first=reset_first)
    got_w, got_r, got_b = gru.unpack(packed, 2, 5, hidden)
    np.testing.assert_array_equal(got_w, w)
    np.testing.assert_array_equal(got_r, r)
    np.testing.assert_allclose(merged(got_b, 3), merged(b, 3), rtol=0, atol=1e-6)
    if not reset_first:  # the reset gate multiplies the recurrent bias of n: it stays apart
        np.testing.assert_array_equal(got_b[:, 5 * hidden :], b[:, 5 * hidden :])


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("peepholes", [False, True])
def test_lstm(hidden: int, peepholes: bool) -> None:
    w, r, b = draw(2, 4 * hidden, 5), draw(2, 4 * hidden, hidden), draw(2, 8 * hidden)
    p = draw(2, 3 * hidden) if peepholes else None
    packed = lstm.pack(w, r, b, p)
    got_w, got_r, got_b, got_p = lstm.unpack(packed, 2, 5, hidden, peepholes=peepholes)
    np.testing.assert_array_equal(got_w, w)
    np.testing.assert_array_equal(got_r, r)
    np.testing.assert_allclose(merged(got_b, 4), merged(b, 4), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(got_p, np.zeros((2, 0)) if p is None else p)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_rnn(hidden: int) -> None:
    w, r, b = draw(2, hidden, 5), draw(2, hidden, hidden), draw(2, 2 * hidden)
    got_w, got_r, got_b = rnn.unpack(rnn.pack(w, r, b), 2, 5, hidden)
    np.testing.assert_array_equal(got_w, w)
    np.testing.assert_array_equal(got_r, r)
    np.testing.assert_allclose(merged(got_b, 1), merged(b, 1), rtol=0, atol=1e-6)


def test_no_bias_is_a_bias_of_zeros() -> None:
    w, r, zeros = draw(1, 12, 3), draw(1, 12, 4), np.zeros((1, 24), np.float32)
    for reset_first in (False, True):
        without = gru.pack(w, r, reset_first=reset_first)
        np.testing.assert_array_equal(without, gru.pack(w, r, zeros, reset_first=reset_first))


def merged(b: Array, gates: int) -> Array:
    """The two parts of each gate's bias summed."""
    return b.reshape(len(b), 2, gates, -1).sum(axis=1)
