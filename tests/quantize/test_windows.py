"""Windows of an input times the weight are the convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edgeseq.quantize import convolutions, windows


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "size", "given"),
    [
        (3, 4, (3,), (9,), {}),
        (3, 4, (3,), (9,), {"pads": (2, 1), "strides": (2,)}),
        (4, 6, (3,), (12,), {"group": 2, "dilations": (2,), "pads": (4, 0)}),
        (5, 5, (3,), (9,), {"group": 5}),
        (2, 4, (2, 3), (6, 7), {"pads": (1, 0, 0, 2), "strides": (2, 1), "group": 2}),
        (2, 3, (2, 3), (6, 9), {"dilations": (3, 2)}),
    ],
)
def test_products_with_windows(
    channels: int, outputs: int, kernel: Any, size: Any, given: dict[str, Any]
) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((2, channels, *size)).astype(np.float32)
    groups = given.get("group", 1)
    w = random.standard_normal((outputs, channels // groups, *kernel)).astype(np.float32)
    node = ir.node("Conv", [ir.Value(name="x")], attributes=given)
    rows = windows.rows(x, node, kernel, most=10_000)
    got = rows @ w.reshape(groups, outputs // groups, -1).swapaxes(1, 2)  # [groups, count, O / g]

    rank = len(kernel)
    pads = np.array(given.get("pads", (0,) * 2 * rank)).reshape(2, rank).T
    padded = torch.from_numpy(np.pad(x, [(0, 0), (0, 0), *pads.tolist()]))
    convolve = torch.conv1d if rank == 1 else torch.conv2d
    strides, dilations = (given.get(n, (1,) * rank) for n in ("strides", "dilations"))
    want = convolve(padded, torch.from_numpy(w), None, strides, 0, dilations, groups)
    flat = want.numpy().reshape(2, groups, outputs // groups, -1).transpose(1, 0, 3, 2)
    np.testing.assert_allclose(got, flat.reshape(got.shape), rtol=0, atol=1e-5)

    few = windows.rows(x, node, kernel, most=5, first=3)
    assert 1 <= few.shape[1] <= 5
    step = -(-rows.shape[1] // 5)
    np.testing.assert_array_equal(few, rows[:, 3 % step :: step])


@pytest.mark.parametrize(
    ("shape", "dilation"), [((8, 6, 3, 3), 2), ((4, 1, 5, 3), 1), ((8, 5, 3), 1)]
)
def test_inputs_in_the_order_of_the_kernels(shape: tuple[int, ...], dilation: int) -> None:
    random = np.random.default_rng(1)
    w = random.standard_normal(shape).astype(np.float32)
    rows = random.standard_normal((7, w[0].size)).astype(np.float32)
    node = ir.node(
        "Conv", [ir.Value(name="x")], attributes={"dilations": (dilation,) * (len(shape) - 2)}
    )
    ordered = convolutions.in_order(w, node)
    got = convolutions.inputs_in_order(rows, w, node) @ ordered.T
    np.testing.assert_allclose(got, rows @ w.reshape(len(w), -1).T, rtol=0, atol=1e-5)
