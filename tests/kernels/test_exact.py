"""sigmoid, tanh and quantize: their bounds in numpy, and the same bits from C on every machine."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels import _build
from edgeseq.kernels import _exact as exact
from edgeseq.kernels._family import Array

SOURCE = """
#include "exact.h"
#define ES_MAP(name)                                              \\
  void map_##name(int n, const float *x, float *y);               \\
  void map_##name(int n, const float *x, float *y) {              \\
    for (int i = 0; i < n; i += ES_W) {                           \\
      es_v v = es_load(x + i);                                    \\
      es_exact_##name(1, &v);                                     \\
      es_store(y + i, v);                                         \\
    }                                                             \\
  }
ES_MAP(sigmoid) ES_MAP(tanh)
void quantize(int n, const float *x, float scale, int zero, uint8_t *q);
void quantize(int n, const float *x, float scale, int zero, uint8_t *q) {
  es_quantize_upto(n, x, scale, zero, 0, q);
  for (int i = 0; i < n; i++)
    q[i] = (uint8_t)(q[i] + ES_DOT_ZERO);
}
float scale_of(int n, const float *x);
float scale_of(int n, const float *x) { return es_dynamic_scale(n, x); }
"""

RUNNING = [isa for isa in _build.ISAS if isa.native]


@pytest.fixture(scope="module", params=RUNNING, ids=lambda isa: isa.name)
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    isa: _build.Isa = request.param
    if why := isa.missing():
        pytest.skip(why)
    folder: Path = tmp_path_factory.mktemp("exact")
    made = _build.compile_object(isa, SOURCE, folder / "exact.o")
    return ctypes.CDLL(str(_build.link(isa, [made], folder / "exact.so")))


def every_binade() -> Array:
    """Both signs of 2048 floats in each binade, infinities and a NaN."""
    low = np.arange(0, 0x7F800000, 1 << 12, dtype=np.uint32)
    positive = np.concatenate([low, low | 0xFFF]).view(np.float32)
    special = np.array([np.inf, np.nan, 9.05, 87.0, 86.99, 0.5], np.float32)
    x = np.concatenate([positive, special])
    both = np.concatenate([x, -x])
    return np.pad(both, (0, -len(both) % 16))


def ulps(got: Array, want: Array) -> float:
    place = np.spacing(np.maximum(np.abs(want), 2.0**-126).astype(np.float32)).astype(np.float64)
    return float((np.abs(got.astype(np.float64) - want) / place).max())


def pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_the_same_bits(library: ctypes.CDLL, name: str) -> None:
    x = every_binade()
    got = np.empty_like(x)
    getattr(library, f"map_{name}")(len(x), pointer(x), pointer(got))
    with np.errstate(all="ignore"):
        want = getattr(exact, name)(x)
    numbers = ~np.isnan(x)
    np.testing.assert_array_equal(got[numbers].view(np.uint32), want[numbers].view(np.uint32))
    assert np.isnan(got[~numbers]).all()


@pytest.mark.parametrize("zero", [0, 1, 127, 128, 254])
@pytest.mark.parametrize("scale", [0.03, 1 / 127, 2.0**-3])
def test_quantize_gives_the_same_integers(library: ctypes.CDLL, zero: int, scale: float) -> None:
    halves = (np.arange(-600, 600, dtype=np.float32) / 2) * np.float32(scale)
    x = np.concatenate([halves, np.nextafter(halves, np.float32(9)), every_binade()])
    x = x.astype(np.float32)
    got = np.zeros(len(x) + 16, np.uint8)
    library.quantize(len(x), pointer(x), ctypes.c_float(scale), zero, pointer(got))
    with np.errstate(all="ignore"):
        want = exact.quantize(x, np.float32(scale), zero)
    np.testing.assert_array_equal(got[: len(x)], want)
    assert got[: len(x)].max() == 254


@pytest.mark.parametrize("size", [1, 3, 16, 17, 100])
def test_dynamic_scale(library: ctypes.CDLL, size: int) -> None:
    library.scale_of.restype = ctypes.c_float
    rng = np.random.default_rng(size)
    x = rng.standard_normal(size).astype(np.float32)
    for row in (x, -x, x * np.float32(1e-38), np.zeros_like(x)):
        want = exact.dynamic_scale(row)[0]
        assert np.float32(library.scale_of(size, pointer(row))) == want
        assert want > 0
    for bad in (np.nan, np.inf, -np.inf):
        x[-1] = bad
        assert np.isnan(library.scale_of(size, pointer(x)))
        assert not np.isfinite(exact.dynamic_scale(x)[0])


def test_bounds() -> None:
    x = every_binade()
    with np.errstate(all="ignore"):
        s, t, wide = exact.sigmoid(x), exact.tanh(x), x.astype(np.float64)
        assert ulps(s[np.abs(x) <= 87], 1 / (1 + np.exp(-wide[np.abs(x) <= 87]))) <= 2
    numbers = ~np.isnan(x)
    assert ulps(t[numbers], np.tanh(wide[numbers])) <= 5
    assert s.dtype == t.dtype == np.float32
    assert s[numbers].min() > 0
    assert s[numbers].max() <= 1
    assert np.abs(t[numbers]).max() <= 1
    assert np.isnan(s[~numbers]).all()
    assert np.isnan(t[~numbers]).all()


def test_exp_bound() -> None:
    x = np.linspace(-87, 87, 100_001, dtype=np.float32)
    assert ulps(exact.exp(x), np.exp(x.astype(np.float64))) <= 2


def test_quantize_rounds_ties_to_even_and_clips() -> None:
    x = np.array([0.5, 1.5, -0.5, -1.5, 126.6, 127.4, 1e9, -126.5, -1e9, np.nan], np.float32)
    got = exact.quantize(x, np.float32(1))
    assert got.tolist() == [127, 129, 127, 125, 254, 254, 254, 1, 0, 127]
