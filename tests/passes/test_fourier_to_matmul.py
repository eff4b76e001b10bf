"""Fourier transforms of a known length are products with constants."""

import zlib

import numpy as np
import pytest

from edgeseq.pipeline import prepare
from tests.passes.conftest import parse, run

SIGNAL = """g (float[2, 40, 1] x) => (float[i,j,k,l] y)
<int64 step = {4}, int64 size = {10}, float[10] w> """
CASES = {
    "stft": SIGNAL + "{ [f] y = STFT (x, step, w, size) }",
    "stft of both sides": SIGNAL + "{ [f] y = STFT <onesided = 0> (x, step, w) }",
    "stft without a window": SIGNAL + "{ [f] y = STFT (x, step, , size) }",
    "real": "g (float[3, 9, 1] x) => (float[i,j,k] y) { [f] y = DFT (x) }",
    "real, one side": "g (float[3, 9, 1] x) => (float[i,j,k] y) { [f] y = DFT <onesided=1> (x) }",
    "complex": "g (float[3, 8, 2] x) => (float[i,j,k] y) { [f] y = DFT (x) }",
    "inverse": "g (float[3, 8, 2] x) => (float[i,j,k] y) { [f] y = DFT <inverse = 1> (x) }",
    "long": "g (float[3, 8, 2] x) => (float[i,j,k] y) <int64 n = {11}> { [f] y = DFT (x, n) }",
    "cut": "g (float[3, 8, 1] x) => (float[i,j,k] y) <int64 n = {5}> { [f] y = DFT (x, n) }",
    "axis 0": "g (float[8, 3, 2] x) => (float[i,j,k] y) <int64 a = {0}> { [f] y = DFT (x, , a) }",
    "dynamic": "g (float[T, 8, 1] x) => (float[i,j,k] y) { [f] y = DFT <onesided=1> (x) }",
}


@pytest.mark.parametrize("name", CASES)
def test_same_as_the_operator(name: str) -> None:
    before = parse(CASES[name])
    after = before.clone()
    prepare(after, passes=("bind-shapes", "fold-constants", "fourier-to-matmul"), check=True)
    assert {"STFT", "DFT"}.isdisjoint(node.op_type for node in after.graph)
    want, got = run(before, 4, "reference"), run(after, 4)
    np.testing.assert_allclose(got["y"], want["y"], atol=2e-6 * np.abs(want["y"]).max())


@pytest.mark.parametrize("size", [8, 9])
def test_real_inverse(size: int) -> None:
    bins = size // 2 + 1
    model = parse(
        f"""g (float[3, {bins}, 2] x) => (float[i,j,k] y) <int64 n = {{{size}}}> {{
        [f] y = DFT <inverse = 1, onesided = 1> (x, n)
    }}"""
    )
    prepare(model, passes=("bind-shapes", "fold-constants", "fourier-to-matmul"), check=True)
    got = run(model, 1)["y"]
    spectrum = np.random.default_rng(zlib.crc32(b"x"))
    pairs = spectrum.standard_normal((3, bins, 2), np.float32).astype(np.float64)
    want = np.fft.irfft(pairs[..., 0] + 1j * pairs[..., 1], size)
    np.testing.assert_allclose(got[..., 0], want, atol=1e-6)


def test_refuses_a_length_that_is_not_known(apply_pass) -> None:
    outcome = apply_pass(
        "fourier-to-matmul", "g (float[3, T, 1] x) => (float[i,j,k] y) { [f] y = DFT (x) }"
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'f' (DFT): the length of its axis is not known"]
