"""int8 convolutions: packing is lossless, and blocks lie where they waste least."""

from __future__ import annotations

import numpy as np
import pytest
from edgeseq.kernels import _conv, _quantized, conv_i8, conv_w8


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("outputs", [1, 4, 13, 16, 35])
@pytest.mark.parametrize("inside", [(1, 1, 9), (3, 1, 8), (4, 3, 3), (9, 1, 1), (6, 2, 5)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_what_is_packed_comes_back(
    outputs: int, inside: tuple[int, int, int], groups: int, dilation: int
) -> None:
    w = weights(groups * outputs, *inside)
    scale = np.ones(len(w), np.float32)
    packed = conv_i8.pack(w, scale, groups=groups, x_scale=0.0, dilation=dilation)
    back = conv_i8.unpack(packed, (len(w), *inside), groups, dilation)
    np.testing.assert_array_equal(back, w)
    rows = conv_i8.ordered(w, dilation)
    assert packed.sizes["pairs"] == _quantized.pairs_fit(rows)
    np.testing.assert_array_equal(conv_i8.restored(rows, w.shape, dilation), w)


@pytest.mark.parametrize(
    ("shape", "dilation", "planar"),
    [
        ((8, 1, 1, 256), 1, True),
        ((8, 1, 1, 256), 2, False),
        ((8, 2, 3, 3), 1, True),
        ((8, 4, 3, 3), 1, False),
        ((8, 9, 1, 5), 1, False),
        ((8, 1, 1, 1), 1, False),
    ],
)
def test_blocks_lie_along_channels_or_taps(
    shape: tuple[int, int, int, int], dilation: int, planar: bool
) -> None:
    assert conv_i8.planar(shape, dilation) == planar


def test_too_many_inputs_are_refused() -> None:
    w = np.zeros((1, 4096, 1, 8), np.int8)
    with pytest.raises(ValueError, match="32768 inputs"):
        conv_i8.pack(w, np.ones(1, np.float32), groups=1, x_scale=0.0)


def test_256_levels_take_all_weights_but_two_neighbours_of_the_least() -> None:
    w = np.zeros((3, 8, 1, 3), np.int8)
    w[1, 1:3] = -128  # neighbours of different pairs
    ones = np.ones(3, np.float32)
    packed = conv_i8.pack(w, ones, groups=1, x_scale=1.0, wide=True)
    assert (packed.sizes["wide"], packed.sizes["pairs"]) == (1, 1)
    w[1, 0] = -128
    with pytest.raises(ValueError, match="-128"):
        conv_i8.pack(w, ones, groups=1, x_scale=1.0, wide=True)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
def test_int8_weights_of_float_convolutions_come_back(groups: int, transposed: bool) -> None:
    w = weights(groups * 18, 5, 1, 3)
    if transposed:
        made = _conv.swap_transposed(w, groups)
        sizes = _conv.conv_sizes((1, 5 * groups, 9), (len(w), 5, 3), groups=groups)
        packed = conv_w8.pack(made, np.ones(len(w)), groups, transposed=True)
        assert made.shape == (5 * groups, 18, 1, 3)
    else:
        sizes = _conv.conv_sizes((1, 5 * groups, 9), (len(w), 5, 3), groups=groups)
        packed = conv_w8.pack(w, np.ones(len(w)), groups)
    assert packed["w"].dtype == np.int8
    np.testing.assert_array_equal(conv_w8.unpack(packed, sizes), w)


def test_only_kernels_for_many_columns_have_a_twin() -> None:
    names = {kernel.name for kernel in conv_w8.KERNELS}
    assert names == {
        *("conv_columns_w8", "conv_channels_w8", "conv_depthwise_w8"),
        "conv_transpose_columns_w8",
    }
