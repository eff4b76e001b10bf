"""AdaRound: never worse than the nearest levels, on what it is given."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pytest

from edgeseq.quantize import levels, rounding
from edgeseq.quantize.adaround import adaround

Array = npt.NDArray[np.float32]


def problem(seed: int, outputs: int = 12, inputs: int = 24) -> tuple[Array, Array]:
    """Weights with zeros, and rows of inputs that depend on each other."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(6, inputs))
    rows = random.normal(size=(1000, 6)) @ mixing + 0.1 * random.normal(size=(1000, inputs))
    w = random.normal(size=(outputs, inputs)).astype(np.float32)
    w[:, ::5] = 0
    return w, rows.astype(np.float32)


def errors(rows: Array, found: Array, scales: Array, w: Array) -> Array:
    return np.square(rows.astype(np.float64) @ (found * scales - w).T).sum(axis=0)


@pytest.mark.parametrize("top", [levels.TOP8, levels.TOP4])
def test_no_row_is_worse_than_the_nearest_and_all_are_better(top: int) -> None:
    w, rows = problem(0)
    scales = np.abs(w).max(axis=1, keepdims=True) / top
    found = adaround(w, scales, rows.T.astype(np.float64) @ rows, top, steps=300)
    nearest = errors(rows, levels.to_levels(w, scales, top), scales, w)
    learned = errors(rows, found, scales, w)
    assert np.all(learned <= nearest * (1 + 1e-6))
    assert learned.sum() < 0.6 * nearest.sum()
    assert np.all(np.abs(found * scales - w) < scales * 1.000001)  # up or down, no further
    assert np.all(found[:, ::5] == 0)


def test_a_scale_of_its_own_for_each_group() -> None:
    w, rows = problem(1)
    scales = levels.spread(levels.group_scales(w, 16), 16, w.shape[1])
    found = adaround(w, scales, rows.T.astype(np.float64) @ rows, levels.TOP4, steps=300)
    nearest = levels.to_levels(w, scales, levels.TOP4)
    assert errors(rows, found, scales, w).sum() < 0.7 * errors(rows, nearest, scales, w).sum()


@pytest.mark.parametrize("how", [functools.partial(adaround, steps=300), rounding.gptq])
def test_what_outputs_lack_is_made_up_for(how: object) -> None:
    w, rows = problem(2)
    scales = np.abs(w).max(axis=1, keepdims=True) / levels.TOP4
    lack = rows @ (0.2 * np.random.default_rng(3).normal(size=w.shape)).T
    gram = rows.T.astype(np.float64) @ rows
    assert callable(how)
    blind = how(w, scales, gram, levels.TOP4) * scales
    told = how(w, scales, gram, levels.TOP4, lack.T @ rows) * scales
    left = [np.square(rows @ (v - w).T - lack).sum() for v in (blind, told)]
    assert left[1] < 0.9 * left[0]


def test_inputs_that_are_always_zero() -> None:
    w, _ = problem(4)
    scales = np.abs(w).max(axis=1, keepdims=True) / levels.TOP8
    found = adaround(w, scales, np.zeros((w.shape[1],) * 2), levels.TOP8, steps=50)
    np.testing.assert_array_equal(found, levels.to_levels(w, scales))


def test_pair_sums_fit_after_rounding_against_data() -> None:
    w = np.random.default_rng(5).normal(size=(64, 33)).astype(np.float32)
    scales = levels.row_scales(w, saturation_free=True)[:, None]
    pushed = np.clip(levels.to_levels(w, scales) + np.sign(w), -127, 127).astype(np.int8)
    assert not levels.pair_sums_fit(pushed)
    fitting = levels.paired(pushed)
    assert levels.pair_sums_fit(fitting)
    assert np.abs(fitting.astype(int) - pushed).max() <= 2
    np.testing.assert_array_equal(levels.paired(fitting), fitting)
