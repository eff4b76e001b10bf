"""Masks in a training loop: exact, kept by state_dict, copies, wrappers and recurrent layers."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.ir.patterns import Pattern
from edgeseq.train.torch_export import export
from edgeseq.train.torch_gradual import GradualPruner
from edgeseq.train.torch_nm import SRSTE, Flow, ProgressiveFlow, nm_mask
from edgeseq.train.torch_slots import choose, slots

Tensor = torch.Tensor


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.gru = nn.GRU(16, 32, num_layers=2, batch_first=True)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.norm(self.gru(x)[0]))
        return y


class Wrapper(nn.Module):
    """What DistributedDataParallel does to names."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.module(x)
        return y


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.randn(4, 6, 16, generator=generator)
        loss = (model(x) - x.flip(-1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-2)


def counts(model: nn.Module, pattern: str) -> dict[str, tuple[int, int]]:
    """Groups kept and groups, of every weight that is pruned."""
    kind, found = Pattern.parse(pattern), {}
    for slot in slots(model):
        groups = [
            kind.gather(m != 0, slot.taps) > 0 for m in slot.split(slot.weight.numpy(force=True))
        ]
        found[slot.path] = (sum(int(g.sum()) for g in groups), sum(g.size for g in groups))
    return found


@pytest.mark.parametrize("pattern", ["16x1", "4x1", "unstructured", "2:4"])
@pytest.mark.parametrize("outside", [lambda m: m, Wrapper], ids=["bare", "wrapped"])
def test_gradual_pruning_ends_exactly(pattern: str, outside: Callable[..., nn.Module]) -> None:
    model = outside(Tagger())
    optimizer = adam(model)
    learnt = {id(p) for p in model.parameters()}
    pruner = GradualPruner(model, optimizer, sparsity=0.5, pattern=pattern, end=8, every=2)
    assert {id(p) for p in model.parameters()} == learnt  # the optimizer's own
    seen = []
    for _ in range(12):
        train(model, optimizer, 1)
        seen.append(pruner.sparsity)
    assert seen == sorted(seen)
    assert seen[1] > 0
    assert seen[-1] == pytest.approx(0.5, abs=0.01)
    pruner.finish()
    assert {id(p) for p in model.parameters()} == learnt
    for kept, total in counts(model, pattern).values():
        assert kept == total - total // 2
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    train(model, optimizer, 1)  # plain again: what is seen is what is learnt, recurrent or not
    moved = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
    assert len(moved) == len(before)


def test_recurrent_layers_use_what_is_masked() -> None:
    model = Tagger()
    pruner = GradualPruner(model, adam(model), sparsity=0.75, pattern="16x1", end=0)
    x = torch.randn(2, 5, 16)
    plain = Tagger()
    with torch.no_grad():
        for slot, mirror in zip(slots(model), slots(plain), strict=True):
            mirror.weight.copy_(slot.weight)
    torch.testing.assert_close(model(x), plain(x))
    model(x).sum().backward()
    for slot in slots(model):
        hidden = slot.owner.parametrizations[slot.attribute].original
        assert not hidden.grad[slot.weight == 0].any()
        assert hidden.grad.any()
    pruner.finish()
    torch.testing.assert_close(model(x), plain(x))


def test_state_dict_and_copies_keep_masks() -> None:
    model = Tagger()
    optimizer = adam(model)
    pruner = GradualPruner(model, optimizer, sparsity=0.5, end=4, every=1)
    train(model, optimizer, 6)
    x = torch.randn(2, 5, 16)
    other = Tagger()
    second = GradualPruner(other, adam(other), sparsity=0.5, end=4, every=1)
    other.load_state_dict(model.state_dict())
    second.load_state_dict(pruner.state_dict())
    torch.testing.assert_close(other(x), model(x))
    assert second.sparsity == pruner.sparsity
    twin = copy.deepcopy(model)
    torch.testing.assert_close(twin(x), model(x))
    pruner.finish()
    fresh = Tagger()
    fresh.load_state_dict(model.state_dict())  # the keys are those of the plain module
    torch.testing.assert_close(fresh(x), model(x))


@pytest.mark.parametrize("pattern", ["16x1", "2:4"])
def test_export_declares_the_zeros(pattern: str) -> None:
    model = Tagger()
    GradualPruner(model, adam(model), sparsity=0.5, pattern=pattern, end=0, but=["head*"]).finish()
    found = export(model.eval(), (torch.zeros(1, 5, 16),))
    sparsity = [facts.get(v, facts.Sparsity) for v in found.graph.initializers.values()]
    declared = [fact for fact in sparsity if fact is not None]
    assert len(declared) == 4  # both weights of both layers, not the head
    assert {fact.pattern for fact in declared} == {pattern}
    assert all(fact.density == pytest.approx(0.5, abs=0.02) for fact in declared)


def test_convolutions_and_cells() -> None:
    model = nn.ModuleDict({"conv": nn.Conv1d(8, 16, 3), "cell": nn.LSTMCell(8, 16)})
    masks = choose(slots(model), Pattern.parse("16x1"), 0.25)
    assert set(masks) == {"conv.weight", "cell.weight_ih", "cell.weight_hh"}
    assert masks["conv.weight"].shape == (16, 8, 3)
    assert masks["conv.weight"].all(0).sum() == 6  # 24 blocks of 16 outputs, one tap and input
    gates = masks["cell.weight_ih"].reshape(4, 16, 8)
    assert (gates.all(1) == gates.any(1)).all()
    for slot in slots(model):
        weight = slot.weight.numpy(force=True)
        np.testing.assert_array_equal(slot.join(slot.split(weight)), weight)


def test_attention() -> None:
    torch.manual_seed(0)
    model = nn.MultiheadAttention(16, 2, batch_first=True)
    other = nn.MultiheadAttention(16, 2, kdim=8, vdim=8)
    assert {s.path for s in slots(model)} == {"in_proj_weight", "out_proj.weight"}
    assert len(slots(other)) == 4
    GradualPruner(model, adam(model), sparsity=0.5, pattern="2:4", end=0)
    x = torch.randn(2, 5, 16)
    plain = nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        for slot, mirror in zip(slots(model), slots(plain), strict=True):
            assert (slot.weight.view(-1, 4) != 0).sum(1).eq(2).all()
            mirror.weight.copy_(slot.weight)
    torch.testing.assert_close(model(x, x, x)[0], plain(x, x, x)[0])


def test_pruning_goes_on_from_what_is_pruned() -> None:
    model = nn.Linear(16, 64)
    GradualPruner(model, adam(model), sparsity=0.5, pattern="unstructured", end=0).finish()
    zeros = model.weight == 0
    again = GradualPruner(
        model, adam(model), sparsity=0.75, initial=0.5, pattern="unstructured", end=100
    )
    assert again.sparsity == 0.5
    assert torch.equal(model.weight == 0, zeros)
    again.finish()
    assert again.sparsity == 0.75
    assert (model.weight == 0)[zeros].all()


def test_one_threshold_for_all() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    with torch.no_grad():
        model[1].weight *= 100
    masks = choose(slots(model), Pattern.parse("unstructured"), 0.5, together=True)
    assert sum(m.sum() for m in masks.values()) == 64
    assert masks["1.weight"].sum() > 60


def test_nm_mask_is_the_pattern() -> None:
    random = np.random.default_rng(2)
    for n, m, shape in [(2, 4, (6, 16)), (1, 4, (5, 10)), (3, 8, (4, 24))]:
        array = random.integers(-3, 4, shape).astype(np.float32)  # many ties
        wanted = Pattern.parse(f"{n}:{m}").mask(np.abs(array), n / m)
        np.testing.assert_array_equal(nm_mask(torch.from_numpy(array), n, m).numpy(), wanted)


def test_sr_ste_reference() -> None:
    """METHODS golden values: masks and the extra gradient of the decay."""
    layer = nn.Linear(8, 1, bias=False)
    weight = torch.tensor([[0.3, -0.1, 0.5, -0.2, 0.05, 0.9, -0.8, 0.01]])
    with torch.no_grad():
        layer.weight.copy_(weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    helper = SRSTE(layer, optimizer, pattern="2:4", decay=2e-4)
    assert (layer.weight != 0).int().tolist() == [[1, 0, 1, 0, 0, 1, 1, 0]]
    for _ in range(3):  # the decay counts once a step, however often the layer was used
        (layer(torch.ones(1, 8)) * 0).sum().backward()
    optimizer.step()
    extra = torch.tensor([[0, -2e-5, 0, -4e-5, 1e-5, 0, 0, 2e-6]])
    learnt = layer.parametrizations.weight.original
    torch.testing.assert_close(learnt.grad, extra)
    torch.testing.assert_close(learnt.detach(), weight - extra)
    assert helper.divergence() == 0
    layer(torch.ones(1, 8)).sum().backward()
    assert (learnt.grad - 1).abs().max() < 1e-4  # straight through, to all of them
    helper.finish()
    assert torch.equal(layer.weight, weight * (layer.weight != 0))


def test_sr_ste_trains_recurrent_layers() -> None:
    model = Tagger()
    optimizer = adam(model)
    helper = SRSTE(model, optimizer)
    train(model, optimizer, 12)
    assert helper.divergence() > 0
    x = torch.randn(2, 5, 16)
    before = model(x)
    helper.finish()
    torch.testing.assert_close(model(x), before)
    for slot in slots(model):
        runs = slot.weight.numpy(force=True).reshape(-1, 4)
        assert (np.count_nonzero(runs, axis=1) == 2).all()


def test_stages_of_structure_flows() -> None:
    stepwise = Flow("structure-stepwise", 1, 8, 0, 8, 0.0)
    assert stepwise.stages() == [(7, 8), (4, 8), (2, 8), (1, 8)]
    assert Flow("structure-geometric", 1, 8, 0, 8, 0.0).stages() == [
        (8, 64),
        (4, 32),
        (2, 16),
        (1, 8),
    ]
    assert [stepwise.at(t)[0] for t in range(9)] == [7, 7, 4, 4, 2, 2, 1, 1, 1]
    linear = Flow("mask-linear", 2, 4, 2, 4, 0.25)
    assert [linear.at(t)[2] for t in range(8)] == [1, 1, 1, 0.75, 0.5, 0.25, 0, 0]


@pytest.mark.parametrize("kind", ["mask-linear", "mask-exponential", "structure-stepwise"])
def test_flows_end_binary(kind: str) -> None:
    model = Tagger()
    optimizer = adam(model)
    flow = ProgressiveFlow(model, optimizer, pattern="1:4", kind=kind, warmup=2, steps=6)
    train(model, optimizer, 1)
    assert all((s.weight != 0).all() for s in slots(model))  # still warming up
    train(model, optimizer, 9)
    twin = copy.deepcopy(model)
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(twin(x), model(x))
    flow.finish()
    for slot in slots(model):
        runs = slot.weight.numpy(force=True).reshape(-1, 4)
        assert (np.count_nonzero(runs, axis=1) == 1).all()


def test_refusals() -> None:
    model = Tagger()
    with pytest.raises(UsageError, match="no weight of the module"):
        slots(model, ["nothing*"])
    with pytest.raises(UsageError, match="outside"):
        GradualPruner(model, adam(model), sparsity=1.0)
    with pytest.raises(UsageError, match="no schedule"):
        GradualPruner(model, adam(model), sparsity=0.5, begin=5, end=1)
    with pytest.raises(UsageError, match="initial sparsity"):
        GradualPruner(model, adam(model), sparsity=0.5, initial=0.9)
    with pytest.raises(UsageError, match="is not N:M"):
        SRSTE(model, adam(model), pattern="4x1")
    with pytest.raises(UsageError, match="did you mean 'mask-linear'"):
        ProgressiveFlow(model, adam(model), kind="mask-linaer")
