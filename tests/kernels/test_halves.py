"""Half-precision loads give every one of the 65536 values exactly, on every instruction set."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels import _build
from edgeseq.kernels._build import Isa
from edgeseq.kernels._family import Array

SOURCE = """
#include "es.h"
#define ES_MAP(name, type, expression)                                    \\
  void map_##name(int n, const type *x, float *y);                       \\
  void map_##name(int n, const type *x, float *y) {                      \\
    for (int i = 0; i < n; i += ES_W)                                     \\
      es_store(y + i, expression);                                        \\
  }
ES_MAP(f16, uint16_t, es_load_f16(x + i))
ES_MAP(low, float, es_low_bf16(es_load(x + i)))
ES_MAP(high, float, es_high_bf16(es_load(x + i)))
"""

RUNNING = [isa for isa in _build.ISAS if isa.native]


@pytest.fixture(scope="module", params=RUNNING, ids=lambda isa: isa.name)
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    isa: Isa = request.param
    if why := isa.missing():
        pytest.skip(why)
    folder: Path = tmp_path_factory.mktemp("halves")
    made = _build.compile_object(isa, SOURCE, folder / "halves.o")
    return ctypes.CDLL(str(_build.link(isa, [made], folder / "halves.so")))


def call(library: ctypes.CDLL, name: str, x: Array) -> Array:
    y = np.empty(x.size, np.float32)
    pointer = ctypes.c_void_p
    getattr(library, f"map_{name}")(x.size, pointer(x.ctypes.data), pointer(y.ctypes.data))
    return y


def test_f16(library: ctypes.CDLL) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    got, want = call(library, "f16", halves), halves.view(np.float16).astype(np.float32)
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(got.view(np.uint32)[numbers], want.view(np.uint32)[numbers])
    assert np.isnan(got[~numbers]).all()


def test_bf16(library: ctypes.CDLL) -> None:
    halves = np.arange(1 << 16, dtype=np.uint32)
    pairs = (halves | (halves[::-1] << 16)).view(np.float32)
    np.testing.assert_array_equal(call(library, "low", pairs).view(np.uint32), halves << 16)
    np.testing.assert_array_equal(call(library, "high", pairs).view(np.uint32), halves[::-1] << 16)
