"""Ranges to scales, weights to levels, and rounding against data."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseq.errors import UsageError
from edgeseq.quantize import levels, rounding
from edgeseq.quantize.observers import Encoding, Seen, encoding, erases, loses, of_range
from edgeseq.quantize.scheme import Scheme, parse

RANDOM = np.random.default_rng(0)


def seen(rows: np.ndarray) -> Seen:
    return Seen(
        float(rows.min()), float(rows.max()), ((float(rows.min()), float(rows.max())),), rows
    )


@pytest.mark.parametrize(
    ("low", "high", "symmetric", "scale", "zero_point"),
    [
        (-1.0, 1.0, True, 1 / 127, 127),
        (-1.0, 1.0, False, 2 / 254, 127),
        (0.0, 2.54, False, 0.01, 0),
        (-2.54, 0.0, False, 0.01, 254),
        (1.0, 2.54, False, 0.01, 0),  # 0 is always in the range
        (-0.5, 1.0, True, 1 / 127, 127),
    ],
)
def test_of_range(low: float, high: float, symmetric: bool, scale: float, zero_point: int) -> None:
    found = of_range(low, high, symmetric=symmetric)
    assert found.scale == pytest.approx(scale, rel=1e-6)
    assert found.zero_point == zero_point


@pytest.mark.parametrize("value", [0.0, 1e-40, 1e30, -1e30])
def test_constants_and_huge_ranges_have_a_scale(value: float) -> None:
    found = of_range(value, value, symmetric=False)
    assert np.isfinite(np.float32(found.scale))
    assert np.float32(found.scale) > 0
    got = found.round_trip(np.array([[0.0, value]], np.float32))
    assert got[0, 0] == 0
    assert got[0, 1] == pytest.approx(value, rel=1e-2, abs=1e-29)


def test_observers_cut_outliers_that_min_max_keeps() -> None:
    rows = RANDOM.normal(size=(4096, 16)).astype(np.float32)
    rows[7, 3] = 1000
    errors = {}
    for observer in ("min-max", "percentile", "mse", "entropy"):
        found = encoding(seen(rows), observer, percentile=99.9)
        usual = np.abs(rows) < 3
        errors[observer] = float(np.square(found.round_trip(rows) - rows)[usual].mean())
    assert errors["percentile"] < errors["min-max"] / 100
    assert errors["entropy"] < errors["min-max"] / 100
    assert errors["mse"] <= errors["min-max"]


def test_moving_average_follows_later_samples() -> None:
    spans = ((-1.0, 1.0), *[(-3.0, 3.0)] * 40)
    rows = np.zeros((1, 1), np.float32)
    found = encoding(Seen(-3.0, 3.0, spans, rows), "moving", symmetric=True)
    assert 2.9 / 127 < found.scale < 3 / 127


def test_unknown_observer() -> None:
    with pytest.raises(UsageError, match="unknown observer 'max'"):
        encoding(seen(np.ones((2, 2), np.float32)), "max")


def test_rows_of_very_different_loudness_want_their_own_scales() -> None:
    loud = RANDOM.normal(size=(500, 32)).astype(np.float32)
    found = encoding(seen(loud), "min-max")
    assert not loses(found, loud)
    varied = loud * 10 ** RANDOM.uniform(-4, 0, (500, 1)).astype(np.float32)
    assert loses(encoding(seen(varied), "min-max"), varied)
    assert not loses(Encoding(1.0), np.zeros((5, 3), np.float32))


def test_rows_that_span_decades_are_not_for_int8() -> None:
    rows = RANDOM.normal(size=(500, 64)).astype(np.float32)
    assert not erases(rows)
    assert not erases(np.zeros((5, 3), np.float32))
    assert not erases(np.maximum(rows, 0))  # zeros are no loss
    assert erases(np.exp(4 * rows))


@pytest.mark.parametrize("free", [False, True])
def test_int8_rows(free: bool) -> None:
    w = RANDOM.normal(size=(40, 33)).astype(np.float32)
    w[3] = 0
    scales = levels.row_scales(w, saturation_free=free)
    found = levels.to_levels(w, scales[:, None])
    assert np.all(np.abs(found * scales[:, None] - w) <= scales[:, None] * 0.500001)
    assert np.all(found[3] == 0)
    assert np.abs(found).max() <= 127
    assert levels.pair_sums_fit(found) == free


@pytest.mark.parametrize("inputs", [1, 31, 32, 33, 70])
def test_int4_groups_of_odd_shapes(inputs: int) -> None:
    w = RANDOM.normal(size=(5, inputs)).astype(np.float32)
    w[2] = 0
    scales = levels.group_scales(w, 32)
    assert scales.shape == (5, -(-inputs // 32))
    assert scales.dtype == np.float16
    full = levels.spread(scales, 32, inputs)
    found = levels.to_levels(w, full, levels.TOP4)
    assert np.all(np.abs(found) <= 7)
    assert np.all(np.abs(found * full - w) <= full * 0.51)  # the scale itself is rounded


@pytest.mark.parametrize("top", [127, 7])
def test_gptq_lowers_the_error_of_the_product(top: int) -> None:
    mixing = RANDOM.normal(size=(6, 24))
    rows = (RANDOM.normal(size=(2000, 6)) @ mixing).astype(np.float32)
    w = RANDOM.normal(size=(16, 24)).astype(np.float32)
    w[:, ::5] = 0
    scales, gram = np.abs(w).max(1, keepdims=True) / top, rows.T @ rows
    errors = [
        np.square(rows @ (found * scales - w).T).mean()
        for found in (levels.to_levels(w, scales, top), rounding.gptq(w, scales, gram, top))
    ]
    assert errors[1] < 0.6 * errors[0]
    assert np.all(rounding.gptq(w, scales, gram, top)[:, ::5] == 0)


def test_schemes_by_text() -> None:
    assert parse("int8") == Scheme("int8", activations=True)
    assert parse("w4g64") == Scheme("int4", group=64)
    for text in ("int8", "w8", "w4g32", "bf16", "fp16"):
        assert parse(text).text == text
    with pytest.raises(UsageError, match="unknown quantization 'int4'"):
        parse("int4")
    with pytest.raises(UsageError, match="groups of 33 inputs"):
        parse("w4g33")


def test_sizes() -> None:
    assert parse("int8").nbytes(16, 100) == 16 * (100 + 4)
    assert parse("w4g32").nbytes(16, 100) == 16 * (50 + 2 * 4)
    assert parse("bf16").nbytes(16, 100) == 16 * 200
