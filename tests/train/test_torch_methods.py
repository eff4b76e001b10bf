"""Group envelope, consensus gates, soups and sparse layers of equal cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import edgeseq.train
from edgeseq.errors import UsageError
from edgeseq.train.torch_envelope import GroupEnvelope, prox_factors
from edgeseq.train.torch_gates import ConsensusGates
from edgeseq.train.torch_ift import replace, wide
from edgeseq.train.torch_soup import recalibrate, soup

Tensor = torch.Tensor


def test_prox_reference() -> None:
    t = np.array([3, -1, 0.5, 2])
    factors = prox_factors(np.abs(t), 2, 0.5)
    np.testing.assert_allclose(t * factors, [2, -0.25, 0, 1.25], atol=1e-9)


def test_prox_is_the_minimum() -> None:
    """Of lambda * envelope(x) + 1/2 |x - t|^2, by trying points around it."""
    random = np.random.default_rng(3)
    t = random.normal(size=6)
    strength, budget = 0.7, 2.5

    def envelope(x: np.ndarray) -> float:
        # 1/2 max over eta of sum f(|x|, eta): the inner minimum over u by water-filling
        u = np.clip(np.abs(x), 1e-12, None)
        low, high = 1e-9, 1e9
        for _ in range(200):
            eta = np.sqrt(low * high)
            low, high = (eta, high) if np.clip(u / eta, 0, 1).sum() > budget else (low, eta)
        share = np.clip(u / high, 1e-12, 1)
        return float(0.5 * (x**2 / share).sum())

    def goal(x: np.ndarray) -> float:
        return strength * envelope(x) + 0.5 * float(((x - t) ** 2).sum())

    best = t * prox_factors(np.abs(t), budget, strength)
    for _ in range(300):
        step = random.normal(size=6) * random.choice([1e-3, 1e-2, 0.1])
        assert goal(best) <= goal(best + step) + 1e-6


def test_prox_of_few_groups_and_zeros() -> None:
    np.testing.assert_allclose(prox_factors(np.array([1.0, 2.0]), 2, 0.5), 1 / 1.5)
    assert not prox_factors(np.zeros(4), 1, 0.5).any()
    # any eta from 1 to 6.25 shares out the budget: the small group is gone for all of them, exactly
    assert prox_factors(np.array([5.0, 5.0, 1.0]), 2, 1.0).tolist() == [0.5, 0.5, 0.0]


def test_envelope_prunes_whole_groups() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 32)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
    helper = GroupEnvelope(layer, optimizer, density=0.25, pattern="rows", strength=2.0)
    target = torch.zeros(32, 8)
    target[:8] = torch.randn(8, 8)
    for _ in range(100):
        x = torch.randn(16, 8)
        loss = (layer(x) - x @ target.T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    helper.finish()
    alive = layer.weight.abs().sum(1) > 0
    assert alive[:8].all()
    assert 8 <= int(alive.sum()) <= 12


def test_envelope_of_hidden_units() -> None:
    """A unit is all its rows: in every gate, of the inputs and of the state."""
    torch.manual_seed(0)
    layer = nn.GRU(4, 8, num_layers=2)
    with torch.no_grad():
        for name in ("weight_ih_l0", "weight_hh_l0"):
            getattr(layer, name).view(3, 8, -1)[:, 2:] *= 0.1
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    helper = GroupEnvelope(layer, optimizer, density=0.25, pattern="units", strength=1.0)
    optimizer.step()
    helper.finish()
    alive = [
        (getattr(layer, f"weight_{kind}_l0").view(3, 8, -1) != 0).any(2) for kind in ("ih", "hh")
    ]
    assert all(gate[:2].all() and not gate[2:].any() for kind in alive for gate in kind)


def test_gates_find_the_units_that_matter() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    gates = ConsensusGates(model, ["0"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        x = torch.randn(32, 4)
        gate = gates.gates["0"]
        loss = (model(x) - x[:, :2]).square().mean() + 0.05 * gates.penalty()
        loss = loss + 0.02 * gate.decide.bias.sigmoid().sum()  # open gates cost
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert "0.gate.frequency" in model.state_dict()
    kept = gates.freeze()["0"]
    assert 0 < int(kept.sum()) < 16
    assert not model[0].weight[~kept].any()
    assert not any("gate" in name for name in model.state_dict())
    x = torch.randn(64, 4)
    with torch.no_grad():
        assert float((model(x) - x[:, :2]).square().mean()) < 0.5


def test_gates_need_a_layer_and_a_pass() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(UsageError, match="no linear layer 'x'"):
        ConsensusGates(model, ["x"])
    with pytest.raises(UsageError, match="no forward pass yet"):
        ConsensusGates(model, ["0"]).penalty()


def state(*rows: float, zero: int | None = 0) -> dict[str, Tensor]:
    weight = torch.tensor([rows], dtype=torch.float32)
    if zero is not None:
        weight[0, zero] = 0
    return {"w": weight, "n": torch.tensor(3)}


def test_soups() -> None:
    one, two, bad = state(0, 1, 2), state(0, 3, 4), state(0, -90, -90)
    assert soup([one, two])["w"].tolist() == [[0, 2, 3]]

    def score(weights: dict[str, Tensor]) -> float:
        return -float((weights["w"] - torch.tensor([[0, 2, 3]])).abs().sum())

    assert soup([bad, one, two], score)["w"].tolist() == [[0, 2, 3]]
    with pytest.raises(UsageError, match="zeros elsewhere in 'w'"):
        soup([one, state(5, 1, 2, zero=1)])
    with pytest.raises(UsageError, match="other tensors"):
        soup([one, {"v": one["w"]}])
    with pytest.raises(UsageError, match="at least one"):
        soup([])


def test_batch_norm_is_calibrated_anew() -> None:
    norm = nn.BatchNorm1d(2)
    batches = [torch.randn(64, 2) * 3 + 5 for _ in range(20)]
    recalibrate(nn.Sequential(norm).eval(), batches)
    torch.testing.assert_close(norm.running_mean, torch.cat(batches).mean(0), atol=0.01, rtol=0.01)
    assert norm.momentum == 0.1
    assert not norm.training


@pytest.mark.parametrize("kind", ["parallel", "doped", "factorised"])
@pytest.mark.parametrize("sparsity", [0.5, 0.75])
def test_sparse_layers_of_equal_cost(kind: str, sparsity: float) -> None:
    dense = nn.Linear(128, 96)
    layer = replace(dense, kind, sparsity, pattern="16x1")
    weights = [m.weight for m in layer.modules() if isinstance(m, nn.Linear)]
    cost = sum(int((w != 0).sum()) for w in weights)
    assert cost == pytest.approx(128 * 96, rel=0.03)
    x = torch.randn(64, 128)
    assert layer(x).shape == (64, 96)
    layer(x).sum().backward()
    zeros = [(w == 0).sum() for w in weights]
    assert sum(zeros) > 0
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.1)
    optimizer.step()
    after = [m.weight for m in layer.modules() if isinstance(m, nn.Linear)]
    assert [(w == 0).sum() for w in after] == zeros


@pytest.mark.parametrize("kind", ["parallel", "doped", "factorised"])
def test_sparse_convolutions_of_equal_cost(kind: str) -> None:
    dense = nn.Conv2d(16, 32, 3, stride=2, padding=1).double()
    layer = replace(dense, kind, 0.5, pattern="16x1", norm=nn.BatchNorm2d)
    weights = [m.weight for m in layer.modules() if isinstance(m, nn.Conv2d)]
    cost = sum(int((w != 0).sum()) for w in weights)
    assert cost == pytest.approx(dense.weight.numel(), rel=0.05)
    x = torch.randn(2, 16, 9, 9, dtype=torch.float64)
    assert layer(x).shape == dense(x).shape
    assert layer(x).dtype == torch.float64
    norms = [m.num_features for m in layer.modules() if isinstance(m, nn.BatchNorm2d)]
    middle = 16 * 9 * 32 // (8 * 9 + 32)
    assert norms == {"parallel": [32, 32], "doped": [], "factorised": [middle]}[kind]


def test_parallel_branches_vary_as_much_as_one_dense_layer() -> None:
    torch.manual_seed(0)
    dense, x = nn.Linear(256, 256, bias=False), torch.randn(512, 256)
    layer = replace(dense, "parallel", 0.75)
    ratio = (layer(x).std() / dense(x).std()).detach()
    assert float(ratio) == pytest.approx(1.0, abs=0.1)


def test_grouped_convolutions_are_refused() -> None:
    with pytest.raises(UsageError, match="4 groups"):
        replace(nn.Conv1d(8, 8, 3, groups=4), "doped", 0.5)


def test_wide() -> None:
    assert wide(128, 0.75) == 256
    with pytest.raises(UsageError, match="did you mean 'parallel'"):
        replace(nn.Linear(4, 4), "paralel", 0.5)


def test_every_public_name_is_there() -> None:
    for name in edgeseq.train.__all__:
        assert callable(getattr(edgeseq.train, name)), name
    with pytest.raises(AttributeError, match="no attribute 'Pruner'"):
        edgeseq.train.Pruner  # noqa: B018
