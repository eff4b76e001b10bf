"""The optimiser of recovery: its bases, its speed where Adam is slow, and what it takes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from edgeseq.train.soap import Soap


def regression(optimizer_of, steps: int = 150) -> float:
    """Fit a masked matrix to inputs that are alike and of very different size."""
    made = torch.Generator().manual_seed(3)
    mixing = torch.randn(48, 48, generator=made) * torch.logspace(0, -2.5, 48)
    wanted = torch.randn(64, 48, generator=made)
    mask = (torch.rand(64, 48, generator=made) < 0.3).float()
    weight = torch.zeros(64, 48, requires_grad=True)
    optimizer = optimizer_of([weight])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
        x = torch.randn(256, 48, generator=made) @ mixing.T
        loss = (x @ (weight * mask - wanted * mask).T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_it_is_ahead_of_adam_where_inputs_are_alike() -> None:
    plain = regression(lambda weights: torch.optim.Adam(weights, lr=0.1, betas=(0.9, 0.95)))
    assert regression(lambda weights: Soap(weights, 0.1)) < 0.3 * plain


@pytest.mark.parametrize("shape", [(7,), (), (1, 5), (2, 1100), (1, 512, 257), (8, 3, 2, 2)])
def test_any_shape_moves_against_its_gradient(shape: tuple[int, ...]) -> None:
    weight = torch.zeros(shape, requires_grad=True)
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weight.grad = gradient.clone()
    Soap([weight], 0.01).step()
    assert weight.shape == shape
    assert float((weight.detach() * gradient).sum()) < 0
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.01, rel=0.5)


def test_a_vector_gets_adam() -> None:
    ours, theirs = (torch.ones(9, requires_grad=True) for _ in range(2))
    soap = Soap([ours], 0.02)
    adam = torch.optim.Adam([theirs], lr=0.02, betas=(0.9, 0.95))
    random = torch.Generator().manual_seed(1)
    for _ in range(30):
        ours.grad = torch.randn(9, generator=random)
        theirs.grad = ours.grad.clone()
        soap.step()
        adam.step()
    np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=0, atol=1e-6)


def test_rows_and_columns_of_zeros_do_no_harm() -> None:
    weight = torch.zeros(64, 32, requires_grad=True)
    soap = Soap([weight], 0.01)
    for step in range(12):
        gradient = torch.zeros(64, 32)
        gradient[: step % 4, ::3] = 1e-9
        weight.grad = gradient
        soap.step()
    assert torch.isfinite(weight).all()
    assert float(weight.detach().abs().max()) <= 0.2


def test_bases_are_orthonormal_and_find_the_directions() -> None:
    random = torch.Generator().manual_seed(2)
    direction = torch.nn.functional.normalize(torch.randn(20, generator=random), dim=0)
    weight = torch.zeros(16, 20, requires_grad=True)
    soap = Soap([weight], 0.01)
    for _ in range(41):
        weight.grad = torch.randn(16, 1, generator=random) * direction
        weight.grad += 0.01 * torch.randn(16, 20, generator=random)
        soap.step()
    basis = soap.state[weight]["basis1"]
    np.testing.assert_allclose(basis.T @ basis, np.eye(20), rtol=0, atol=1e-5)
    assert float((basis.T @ direction).abs().max()) > 0.99


def test_its_state_goes_on_to_the_same_bits() -> None:
    start = torch.randn(32, 24, generator=torch.Generator().manual_seed(4))
    weight = start.clone().requires_grad_()
    soap = Soap([weight], 0.01)
    twin, other = None, None
    for step in range(25):
        if step == 13:
            twin = weight.detach().clone().requires_grad_()
            other = Soap([twin], 0.01)
            other.load_state_dict(copy.deepcopy(soap.state_dict()))
        for each, optimizer in ((weight, soap), (twin, other)):
            if optimizer is not None:
                each.grad = torch.sin(each.detach() * (step + 1))
                optimizer.step()
    assert twin is not None
    assert torch.equal(weight, twin)
