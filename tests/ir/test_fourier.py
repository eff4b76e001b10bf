"""Matrices of windowed waves are recognised, to the last digit of float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from edgeseq.kernels import fourier as kernels
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.ir import fourier

Array = np.ndarray


def waves(points: int, bins: int, window: Array) -> Array:
    """The spectrum of a frame is this times the frame, [bins, samples], complex."""
    at = np.outer(np.arange(bins), np.arange(len(window))) % points
    return np.exp(-2j * np.pi * at / points) * window


def product(matrix: Array) -> ir.Node:
    """MatMul(x, matrix)."""
    weight = np.ascontiguousarray(matrix, np.float32)
    value = ir.Value(name="w", const_value=ir.tensor(weight, name="w"))
    return ir.node("MatMul", [ir.Value(name="x"), value])


LAYOUTS = {
    "parts one behind the other": lambda w: np.concatenate([w.real, w.imag]),
    "imaginary first": lambda w: np.concatenate([w.imag, w.real]),
    "in turn": lambda w: np.stack([w.real, w.imag], axis=1).reshape(-1, w.shape[1]),
    "of the conjugate": lambda w: np.concatenate([w.real, -w.imag]),
    "real alone": lambda w: w.real,
    "imaginary alone": lambda w: w.imag,
}


def rebuilt(found: fourier.Transform, rows: int) -> Array:
    """The matrix that a description is of."""
    at = found.layout
    own = waves(found.points, at.bins, found.window) * found.scale[:, None]
    matrix = np.zeros((rows, len(found.window)))
    if at.re_at >= 0:
        matrix[at.re_at :: at.step][: at.bins] = own.real
    if at.im_at >= 0:
        matrix[at.im_at :: at.step][: at.bins] = own.imag * found.sign
    return matrix


@settings(max_examples=60, deadline=None)
@given(
    way=st.sampled_from(list(LAYOUTS)),
    half=st.integers(16, 200),
    shorter=st.integers(0, 60),
    fewer=st.booleans(),
    seed=st.integers(0, 9),
)
def test_what_is_recognised_is_the_matrix(
    way: str, half: int, shorter: int, fewer: bool, seed: int
) -> None:
    window = np.random.default_rng(seed).uniform(0.1, 2.0, max(2 * half - shorter, half + 1))
    matrix = LAYOUTS[way](waves(2 * half, half + (not fewer), window)).astype(np.float32)
    found = fourier.recognise(matrix)
    assert found is not None
    assert found.points == 2 * half
    np.testing.assert_allclose(rebuilt(found, len(matrix)), matrix, rtol=0, atol=8e-6)


def test_the_way_back_has_a_scale_for_each_bin() -> None:
    window = np.hanning(256) + 0.01
    own = waves(256, 129, window) * np.where(np.arange(129) % 128 == 0, 1, 2)[:, None] / 256
    matrix = np.concatenate([own.real, own.imag]).astype(np.float32)
    found = fourier.of_node(product(matrix))
    assert found is not None
    assert found.inverse
    wanted = np.where(np.arange(129) % 128 == 0, 1, 2)
    np.testing.assert_allclose(found.transform.scale, wanted, rtol=1e-5)
    assert fourier.of_node(product(matrix.T)) is None  # its bins differ in scale


def test_parts_alone_have_no_way_back() -> None:
    alone = waves(256, 129, np.ones(256)).real
    assert fourier.of_node(product(alone)) is None
    assert fourier.of_node(product(alone.T)) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m + np.where(np.arange(m.size).reshape(m.shape) == 700, 1e-3, 0),
        lambda m: m[np.random.default_rng(0).permutation(len(m))],
        lambda m: np.random.default_rng(0).standard_normal(m.shape),
        lambda m: np.roll(m, 1, axis=1),
        lambda m: m * np.nan,
        lambda m: m * 0,
    ],
    ids=["one number", "other order", "random", "late by one", "NaN", "zeros"],
)
def test_others_are_not(change: Callable[[Array], Array]) -> None:
    matrix = LAYOUTS["parts one behind the other"](waves(256, 129, np.hanning(256)))
    assert fourier.recognise(matrix.astype(np.float32)) is not None
    assert fourier.recognise(change(matrix).astype(np.float32)) is None


def test_careless_waves_are_other_waves() -> None:
    """Angles of hundreds of turns in float32 are off by more than float32's sines."""
    at = np.outer(np.arange(257, dtype=np.float32), np.arange(512, dtype=np.float32))
    angle = at * np.float32(2 * np.pi / 512)
    assert fourier.recognise(np.concatenate([np.cos(angle), -np.sin(angle)])) is None


def test_a_transform_is_fast_where_there_is_a_kernel() -> None:
    for points in range(66, 400, 2):
        matrix = waves(points, points // 2 + 1, np.ones(points))
        stacked = np.concatenate([matrix.real, matrix.imag]).astype(np.float32)
        assert (fourier.of_node(product(stacked.T)) is not None) == (
            kernels.split(points) is not None
        )


def test_small_ones_stay_products() -> None:
    matrix = waves(32, 17, np.ones(32))
    assert fourier.of_node(product(np.concatenate([matrix.real, matrix.imag]).T)) is None
