"""exp, tanh and sigmoid keep the bounds that es_math.h states, in every binade."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels import _build
from edgeseq.kernels._build import Isa
from edgeseq.kernels._family import Array

SOURCE = """
#include "es_math.h"
#define ES_MAP(name)                                              \\
  void map_##name(int n, const float *x, float *y);               \\
  void map_##name(int n, const float *x, float *y) {              \\
    for (int i = 0; i < n; i += ES_W)                             \\
      es_store(y + i, es_##name(es_load(x + i)));                 \\
  }                                                               \\
  void one_##name(const float *x, float *y);                      \\
  void one_##name(const float *x, float *y) { *y = es_##name##f(*x); }
ES_MAP(exp) ES_MAP(tanh) ES_MAP(sigmoid)
"""

RUNNING = [isa for isa in _build.ISAS if isa.native]


@pytest.fixture(scope="module", params=RUNNING, ids=lambda isa: isa.name)
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    isa: Isa = request.param
    if why := isa.missing():
        pytest.skip(why)
    folder: Path = tmp_path_factory.mktemp("math")
    made = _build.compile_object(isa, SOURCE, folder / "math.o")
    return ctypes.CDLL(str(_build.link(isa, [made], folder / "math.so")))


def every_binade() -> Array:
    """Both signs of 2048 floats in each binade, the ends included, and the special values."""
    low = np.arange(0, 0x7F800000, 1 << 12, dtype=np.uint32)
    positive = np.concatenate([low, low | 0xFFF]).view(np.float32)
    special = np.array([0.0, np.inf, 9.05, 87.0, 88.72, 88.73, 103.9, 104.0, 89.0, 1e-40], "f")
    positive = np.concatenate([positive, special])
    both = np.concatenate([positive, -positive])
    return np.pad(both, (0, -len(both) % 16))


def call(library: ctypes.CDLL, name: str, x: Array) -> Array:
    y = np.empty_like(x)
    pointer = ctypes.c_void_p
    getattr(library, f"map_{name}")(len(x), pointer(x.ctypes.data), pointer(y.ctypes.data))
    return y


def ulps(got: Array, want: Array) -> float:
    """Largest error in units of the last place of a normal float."""
    place = np.spacing(np.maximum(np.abs(want), 2.0**-126).astype(np.float32)).astype(np.float64)
    return float((np.abs(got.astype(np.float64) - want) / place).max())


def test_exp(library: ctypes.CDLL) -> None:
    x = every_binade()
    with np.errstate(over="ignore", under="ignore"):
        want = np.exp(x.astype(np.float64))
    got = call(library, "exp", x)
    finite = want < np.finfo(np.float32).max
    assert ulps(got[finite], want[finite]) <= 2
    assert (got[x > 88.73] == np.inf).all()
    assert (got[x < -104] == 0).all()


def test_sigmoid(library: ctypes.CDLL) -> None:
    x = every_binade()
    with np.errstate(over="ignore"):
        want = 1 / (1 + np.exp(-x.astype(np.float64)))
    got = call(library, "sigmoid", x)
    assert ulps(got[x > -87], want[x > -87]) <= 4
    assert np.abs(got - want)[x <= -87].max() < 2e-38
    assert got.min() >= 0
    assert got.max() <= 1


def test_tanh(library: ctypes.CDLL) -> None:
    x = every_binade()
    got = call(library, "tanh", x)
    assert ulps(got, np.tanh(x.astype(np.float64))) <= 5
    assert np.abs(got).max() <= 1


def test_tanh_stays_within_one_near_its_end(library: ctypes.CDLL) -> None:
    x = np.arange(np.float32(4).view(np.uint32), np.float32(9.1).view(np.uint32), dtype=np.uint32)
    x = np.pad(x.view(np.float32), (0, -len(x) % 16))
    assert call(library, "tanh", x).max() <= 1


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid"])
def test_a_nan_stays_and_one_float_has_the_same_bits(library: ctypes.CDLL, name: str) -> None:
    x = np.linspace(-5, 5, 64, dtype=np.float32)
    x[7] = np.nan
    many = call(library, name, x)
    one = np.empty_like(x)
    for i in range(len(x)):
        at = ctypes.c_void_p(x.ctypes.data + 4 * i), ctypes.c_void_p(one.ctypes.data + 4 * i)
        getattr(library, f"one_{name}")(*at)
    assert np.isnan(many[7])
    np.testing.assert_array_equal(many, one)
