"""Fake quantization: its values, and the gradients of values and scales."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeseq.train import fake
from edgeseq.train.fake import Levels, Weight


def test_values_are_those_of_integers() -> None:
    v = torch.tensor([-9.0, -0.26, -0.25, 0.0, 0.2, 0.75, 3.4, 99.0])
    made = fake.fake(v, torch.tensor(0.5), -2, 7)
    # Half a step goes to the even level.
    assert made.tolist() == [-1.0, -0.5, 0.0, 0.0, 0.0, 1.0, 3.5, 3.5]


def test_gradients_are_straight_inside_and_zero_beyond() -> None:
    v = torch.tensor([-9.0, -0.7, 0.2, 3.0, 99.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    fake.fake(v, scale, -4, 7).sum().backward()
    assert v.grad is not None
    assert scale.grad is not None
    assert v.grad.tolist() == [0, 1, 1, 1, 0]
    # Beyond: the level itself; inside: round(v / s) - v / s.
    assert float(scale.grad) == pytest.approx(-4 + (-1 + 1.4) + (0 - 0.4) + 0 + 7, abs=1e-6)


def test_the_gradient_of_a_scale_is_divided_by_its_share() -> None:
    v = torch.randn(3, 40, generator=torch.Generator().manual_seed(1))
    scales = torch.full((3, 1), 0.01, requires_grad=True)
    fake.weight(v, Weight(scales.detach().numpy(), 127, 1), scales).sum().backward()
    alone = torch.full((3, 1), 0.01, requires_grad=True)
    fake.fake(v, alone, -127, 127).sum().backward()
    assert scales.grad is not None
    torch.testing.assert_close(scales.grad, alone.grad / np.sqrt(40 * 127))


def test_groups_share_half_precision_scales() -> None:
    v = torch.randn(2, 70, generator=torch.Generator().manual_seed(2))
    scales = torch.rand(2, 3, generator=torch.Generator().manual_seed(3)) * 0.1 + 0.2
    how = Weight(scales.numpy(), 7, 1, group=32, half=True)
    made = fake.weight(v, how, scales)
    for row in range(2):
        for group in range(3):
            step = float(scales[row, group].half())
            part = v[row, 32 * group : 32 * (group + 1)]
            want = (part / step).round().clamp(-7, 7) * step
            torch.testing.assert_close(made[row, 32 * group : 32 * (group + 1)], want)


def test_dynamic_scales_are_those_of_the_row_or_of_all() -> None:
    v = torch.tensor([[1.0, -0.3], [100.0, 0.0]])
    rows = fake.activation(v, Levels(0.0), None)
    torch.testing.assert_close(rows, torch.tensor([[1.0, -38 / 127], [100.0, 0.0]]))
    whole = fake.activation(v, Levels(0.0, axes=2), None)
    torch.testing.assert_close(whole, torch.tensor([[100 / 127, 0.0], [100.0, 0.0]]))
    assert fake.activation(torch.zeros(1, 4), Levels(0.0), None).tolist() == [[0, 0, 0, 0]]


def test_pairs_fit_sixteen_bits_at_any_scale() -> None:
    v = torch.randn(8, 31, generator=torch.Generator().manual_seed(4))
    tiny = torch.full((8, 1), 1e-6)
    how = Weight(tiny.numpy(), 127, 1, pairs=True)
    levels = (fake.weight(v, how, tiny) / fake.weight_scales(v, how, tiny)).round()
    sums = (levels[:, 0:30:2] + levels[:, 1:30:2]).abs()
    assert fake.PAIR - 2 <= int(sums.max()) <= fake.PAIR
