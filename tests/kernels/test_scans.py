"""The references of the scans against numbers worked out elsewhere, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from edgeseq.kernels import _matrix_scan, conv1d_step, delta_scan, outer_scan, selective_scan
from edgeseq.kernels._family import Array, Case, Kernel
from hypothesis import given
from hypothesis import strategies as st


def linear_attention(kernel: Kernel, raw: dict[str, Array], decays: int) -> dict[str, Array]:
    """The kernel's reference on [T, 1, H, ...] arrays, time first."""
    steps, streams, heads, group, keys = raw["q"].shape
    values = raw["x"].shape[-1]
    sizes = dict.fromkeys(kernel.sizes, 0)
    shape = (steps, streams, heads, group, keys, values, decays, 0, 0)
    sizes |= dict(zip(_matrix_scan.SHAPE, shape, strict=True))
    sizes |= {"y_t": heads * group * values, "g_t": int(len(raw["decay"]) > 1)}
    return kernel.reference(Case(sizes, {}, raw))


def test_the_gated_delta_rule() -> None:
    raw = {
        "q": np.array([[1, 0], [0.6, 0.8]]).reshape(2, 1, 1, 1, 2),
        "k": np.array([[1, 0], [0.6, 0.8]]).reshape(2, 1, 1, 2),
        "x": np.array([2.0, -1.0]).reshape(2, 1, 1, 1),
        "beta": np.array([0.5, 1.0]).reshape(2, 1, 1),
        "decay": np.array([1.0, 0.9]).reshape(2, 1, 1),
        "scale": np.array([2**-0.5]),
    }
    out = linear_attention(delta_scan.KERNELS[0], raw, _matrix_scan.Decay.HEAD)
    assert out["h_n"].reshape(-1) == pytest.approx([-0.024, -1.232], abs=1e-6)
    assert out["y"] == pytest.approx([0.707107, -0.707107], abs=1e-6)


def test_retention_is_a_product_with_a_matrix_of_powers() -> None:
    """RetNet's recurrent form against its parallel one, with the decays of four heads."""
    rng = np.random.default_rng(0)
    gamma = 1 - 2.0 ** (-5 - np.arange(4))
    assert gamma == pytest.approx([0.96875, 0.984375, 0.992188, 0.996094], abs=1e-6)
    q, k = rng.standard_normal((2, 9, 1, 4, 3))
    v = rng.standard_normal((9, 1, 4, 5))
    raw = {"q": q[:, :, :, None], "k": k, "x": v, "decay": gamma.reshape(1, 1, 4)}
    out = linear_attention(outer_scan.KERNELS[0], raw, _matrix_scan.Decay.HEAD)
    apart = np.arange(9)[:, None] - np.arange(9)
    for head in range(4):
        mask = np.where(apart >= 0, gamma[head] ** np.maximum(apart, 0), 0)
        want = (q[:, 0, head] @ k[:, 0, head].T * mask) @ v[:, 0, head]
        assert out["y"].reshape(9, 4, 5)[:, head] == pytest.approx(want, abs=1e-12)


def test_a_selective_scan_without_selection_is_a_long_convolution() -> None:
    """With constant steps and projections, y is x convolved with C exp(l d A) d B."""
    rng = np.random.default_rng(1)
    steps, states = 12, 4
    a, b, c = -rng.uniform(0.1, 2, states), rng.standard_normal(states), rng.standard_normal(states)
    x, d = rng.standard_normal(steps), 0.3
    raw = {
        "x": x.reshape(steps, 1, 1),
        "dt": np.full((steps, 1, 1), d),
        "a": a[None],
        "bm": np.broadcast_to(b, (steps, 1, states)),
        "cm": np.broadcast_to(c, (steps, 1, states)),
    }
    kernel = selective_scan.KERNELS[0]
    sizes = dict.fromkeys(kernel.sizes, 0) | {"T": steps, "B": 1, "C": 1, "N": states, "y_t": 1}
    response = np.array([(c * np.exp(n * d * a) * d * b).sum() for n in range(steps)])
    want = np.convolve(x, response)[:steps]
    assert kernel.reference(Case(sizes, {}, raw))["y"] == pytest.approx(want, abs=1e-12)


@given(st.integers(1, 40), st.integers(1, 9))
def test_packed_taps_come_back(channels: int, taps: int) -> None:
    w = np.arange(channels * taps, dtype=np.float32).reshape(channels, 1, taps)
    assert np.array_equal(conv1d_step.unpack(conv1d_step.pack(w)), w)
