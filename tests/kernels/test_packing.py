"""Packing loses nothing, and puts things where the C code reads them."""

from __future__ import annotations

import numpy as np
import pytest
from edgeseq.kernels import _blocks, gemm, gru, lstm, rnn, spmv
from edgeseq.kernels import _recurrent as rec
from edgeseq.kernels._family import Array
from edgeseq.kernels._formats import (
    ALL,
    DENSE,
    N_OF_M,
    SPARSE,
    Format,
    from_halves,
    rounded,
    to_halves,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.ir.patterns import NOfM, Pattern

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


@pytest.mark.parametrize("form", ALL, ids=lambda f: f.name)
@pytest.mark.parametrize("hidden", [1, 8, 15, 33])
def test_recurrent_formats(form: Format, hidden: int) -> None:
    w, r, p = draw(2, 4 * hidden, 5), draw(2, 4 * hidden, hidden), draw(2, 3 * hidden)
    w, r = (rounded(sparse(m), form.element) for m in (w, r))
    pack_lstm, pack_gru = (f.pack_blocks if form.width else f.pack for f in (lstm, gru))
    got = lstm.unpack(pack_lstm(w, r, None, p, form=form), 2, 5, hidden, form, peepholes=True)
    for one, want in zip(got, (w, r, np.zeros((2, 8 * hidden)), p), strict=True):
        np.testing.assert_array_equal(one, want)
    w, r = w[:, hidden:], r[:, hidden:]
    packed = pack_gru(w, r, None, reset_first=False, form=form)
    for one, want in zip(gru.unpack(packed, 2, 5, hidden, form), (w, r), strict=False):
        np.testing.assert_array_equal(one, want)


@pytest.mark.parametrize("form", DENSE, ids=lambda f: f.name)
@pytest.mark.parametrize("inputs", [0, 1, 2, 7])
def test_gemm_formats(form: Format, inputs: int) -> None:
    w, bias = rounded(draw(inputs, 37), form.element), draw(37)
    packed = gemm.pack(w, bias, form)
    halves = 1 if form.element == "f32" else 2
    assert packed.size == 40 * (1 + -(-inputs // halves)) + 12
    for got, want in zip(gemm.unpack(packed, inputs, 37, form), (w, bias), strict=True):
        np.testing.assert_array_equal(got, want)


@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from(SPARSE),
    outputs=st.integers(1, 40),
    inputs=st.integers(0, 20),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_blocks_lose_nothing(
    form: Format, outputs: int, inputs: int, density: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    full = rng.standard_normal((outputs, inputs)).astype(np.float32)
    w = rounded(rec.prune(full, density, outputs, form, rng), form.element)
    bias = rng.standard_normal(outputs).astype(np.float32)
    packed = spmv.pack(w.T, bias, form)
    for got, want in zip(spmv.unpack(packed, inputs, outputs, form), (w.T, bias), strict=True):
        np.testing.assert_array_equal(got, want)
    assert packed.blocks * form.index_words == len(packed.index)
    assert packed.blocks == packed.counts.sum()
    assert not (w[~_blocks.stored(w, form)]).any()
    if not form.window:
        wanted = _blocks.stored(w, form)[:: form.width].sum(axis=1)
        np.testing.assert_array_equal(packed.counts, wanted + -wanted % 4)


@pytest.mark.parametrize("form", N_OF_M, ids=lambda f: f.name)
@pytest.mark.parametrize("pattern", ["2:4", "1:4", "4:8", "1:8", "6:8", "3:16", "15:16"])
def test_n_of_m_stores_n_of_m(form: Format, pattern: str) -> None:
    """Where M divides the window there is no zero among the blocks, but in the last four."""
    found = Pattern.parse(pattern)
    assert isinstance(found, NOfM)
    w = rounded(draw(48, 64), form.element)
    w = w * found.mask(np.abs(w), 0.5)
    packed = spmv.pack(w.T, None, form)
    exact = found.n * 64 // found.m
    if form.window % found.m == 0:
        np.testing.assert_array_equal(packed.counts, exact + -exact % 4)
        assert _blocks.share(w, form) == found.n / found.m
        np.testing.assert_array_equal(_blocks.stored(w, form), w != 0)
    else:
        assert (packed.counts >= exact).all()
        assert found.n / found.m < _blocks.share(w, form) <= 1


def test_n_of_m_as_the_kernel_reads_it() -> None:
    """Starts, codes of four bits, values; the third output has fewer than the others."""
    form = N_OF_M[0]
    w = np.zeros((3, 10), np.float32)
    w[0, [1, 7]], w[1, [0, 3]], w[2, 5], w[1, 9] = (1, 2), (3, 4), 5, 6
    packed = spmv.pack(w.T, np.array([7, 8, 9], np.float32), form)
    starts, codes = packed.index[:4], packed.index[4:7]
    np.testing.assert_array_equal(starts, [0, 0, 2, 2])  # the second window ends with the inputs
    picked = codes[:, None] >> np.array([0, 4, 8, 12]) & 15
    np.testing.assert_array_equal(picked, [[1, 7, 0, 0], [0, 3, 7, 7], [5, 5, 0, 0]])
    rows = packed.w[:80].reshape(5, 16)[:, :3]
    np.testing.assert_array_equal(rows, [[7, 8, 9], [1, 3, 5], [2, 4, 0], [0, 6, 0], [0, 0, 0]])


def test_halves_round_to_even() -> None:
    values = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8), 3.4e38, np.inf], np.float32)
    want = np.array([1, 1, 1 + 2**-6, -1, np.inf, np.inf], np.float32)
    np.testing.assert_array_equal(rounded(values, "bf16"), want)
    assert np.isnan(rounded(np.array([0x7FFFFFFF], np.uint32).view(np.float32), "bf16")).all()


@pytest.mark.parametrize("element", ["bf16", "f16"])
def test_every_half_survives(element: str) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    values = from_halves(halves, element)
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(to_halves(values, element)[numbers], halves[numbers])


def sparse(w: Array) -> Array:
    """The matrix with about half of its columns in each chain zero."""
    return w * (np.arange(w.shape[-1]) % 2)


def merged(b: Array, gates: int) -> Array:
    """The two parts of each gate's bias summed."""
    return b.reshape(len(b), 2, gates, -1).sum(axis=1)
