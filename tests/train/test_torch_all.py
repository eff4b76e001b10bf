"""What every training helper must survive: checkpoints, copies, DDP, recurrent layers, export."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeseq.ir import facts
from edgeseq.train.torch_envelope import GroupEnvelope
from edgeseq.train.torch_export import export
from edgeseq.train.torch_gates import ConsensusGates
from edgeseq.train.torch_gradual import GradualPruner
from edgeseq.train.torch_ift import replace
from edgeseq.train.torch_nm import SRSTE, ProgressiveFlow
from edgeseq.train.torch_slots import slots
from edgeseq.train.torch_soup import soup

Tensor = torch.Tensor
SIZE = 16


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv1d(SIZE, SIZE, 3, padding=1)
        self.gru = nn.GRU(SIZE, 2 * SIZE, num_layers=2, batch_first=True)
        self.lstm = nn.LSTM(2 * SIZE, SIZE, batch_first=True)
        self.head = nn.Linear(SIZE, SIZE)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        made: Tensor = self.head(self.lstm(self.gru(y)[0])[0])
        return made


@dataclasses.dataclass
class Run:
    """A model, what trains it, and what ends the helper."""

    model: Tagger
    optimizer: torch.optim.Optimizer
    finish: Callable[[], object]
    penalty: Callable[[], Tensor | float] = lambda: 0.0


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-2)


def gradual(model: Tagger) -> Run:
    optimizer = adam(model)
    helper = GradualPruner(model, optimizer, sparsity=0.5, pattern="16x1", end=4, every=2)
    return Run(model, optimizer, helper.finish)


def sr_ste(model: Tagger) -> Run:
    optimizer = adam(model)
    return Run(model, optimizer, SRSTE(model, optimizer).finish)


def flow(kind: str) -> Callable[[Tagger], Run]:
    def make(model: Tagger) -> Run:
        optimizer = adam(model)
        helper = ProgressiveFlow(model, optimizer, kind=kind, warmup=1, steps=4)
        return Run(model, optimizer, helper.finish)

    return make


def envelope(model: Tagger) -> Run:
    optimizer = adam(model)
    helper = GroupEnvelope(model, optimizer, density=0.5, pattern="16x1", strength=200.0)
    return Run(model, optimizer, helper.finish)


def gates(model: Tagger) -> Run:
    helper = ConsensusGates(model, ["head"])
    for gate in helper.gates.values():
        with torch.no_grad():  # half of the units are closed from the start
            gate.decide.bias[::2] = -3.0
    return Run(model, adam(model), helper.freeze, helper.penalty)


def iso(kind: str, layer: str) -> Callable[[Tagger], Run]:
    def make(model: Tagger) -> Run:
        setattr(model, layer, replace(getattr(model, layer), kind, 0.5))
        return Run(model, adam(model), lambda: None)

    return make


HELPERS = {
    "gradual": gradual,
    "sr-ste": sr_ste,
    "mask-linear": flow("mask-linear"),
    "mask-exponential": flow("mask-exponential"),
    "structure-stepwise": flow("structure-stepwise"),
    "structure-geometric": flow("structure-geometric"),
    "envelope": envelope,
    "gates": gates,
    "parallel": iso("parallel", "head"),
    "doped": iso("doped", "conv"),
    "factorised": iso("factorised", "conv"),
}
EXPORTED = {"gates": "rows"} | {name: "2:4" for name in HELPERS if "-" in name}  # others: 16x1


@pytest.fixture(params=HELPERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def train(run: Run, steps: int, model: nn.Module | None = None) -> None:
    generator = torch.Generator().manual_seed(0)
    model = model or run.model
    for _ in range(steps):
        x = torch.randn(4, 6, SIZE, generator=generator)
        loss = (model(x) - x.flip(-1)).square().mean() + run.penalty()
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()


def probe() -> Tensor:
    return torch.randn(2, 5, SIZE, generator=torch.Generator().manual_seed(5))


def test_state_dict(name: str) -> None:
    run = HELPERS[name](Tagger())
    train(run, 3)
    other = HELPERS[name](Tagger())
    other.model.load_state_dict(run.model.state_dict())
    other.optimizer.load_state_dict(run.optimizer.state_dict())
    assert torch.equal(other.model.eval()(probe()), run.model.eval()(probe()))


def test_finished_state_dict_is_the_plain_one(name: str) -> None:
    run = HELPERS[name](Tagger())
    train(run, 6)
    run.finish()
    names = {key.partition(".parametrizations")[0] for key in run.model.state_dict()}
    if name in ("parallel", "doped", "factorised"):  # other layers, as asked
        assert not names & {"gru", "lstm"}
        return
    plain = Tagger()
    plain.load_state_dict(run.model.state_dict())
    torch.testing.assert_close(plain(probe()), run.model(probe()))


def test_copies(name: str) -> None:
    run = HELPERS[name](Tagger())
    train(run, 2)
    run.model.double().float()  # as `.to(device)` does, layers gather their weights anew
    twin = copy.deepcopy(run.model)
    before = run.model.eval()(probe()).detach()
    assert torch.equal(twin.eval()(probe()), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    assert torch.equal(run.model(probe()), before)
    assert not torch.equal(twin(probe()), before)


def test_data_parallel(name: str, group: None) -> None:
    """One process learns with and without the wrapper to the same bits."""
    alone, wrapped = HELPERS[name](Tagger()), HELPERS[name](Tagger())
    train(alone, 6)
    train(wrapped, 6, nn.parallel.DistributedDataParallel(wrapped.model))
    assert torch.equal(wrapped.model.eval()(probe()), alone.model.eval()(probe()))


def test_recurrent_layers_see_the_weights_they_show(name: str) -> None:
    run = HELPERS[name](Tagger())
    train(run, 3)
    for kind in ("gru", "lstm"):
        layer, plain = getattr(run.model, kind), getattr(Tagger(), kind)
        with torch.no_grad():
            for mirror in plain._flat_weights_names:
                getattr(plain, mirror).copy_(getattr(layer, mirror))
        x = torch.randn(2, 5, layer.input_size)
        torch.testing.assert_close(layer(x)[0], plain(x)[0])
    run.finish()
    for kind in ("gru", "lstm"):
        layer = getattr(run.model, kind)
        learnt = [getattr(layer, n) for n in layer._flat_weights_names]
        assert all(a is b for a, b in zip(layer._flat_weights, learnt, strict=True))
        assert all(isinstance(weight, nn.Parameter) for weight in learnt)


def test_export(name: str) -> None:
    run = HELPERS[name](Tagger())
    train(run, 8)
    run.finish()
    model = export(run.model.eval(), (probe(),))
    found = [facts.get(v, facts.Sparsity) for v in model.graph.initializers.values()]
    sparse = [fact for fact in found if fact is not None]
    assert {fact.pattern for fact in sparse} == {EXPORTED.get(name, "16x1")}
    assert all(0.3 < fact.density < 0.9 for fact in sparse)
    few = {"gates": 1, "parallel": 2, "doped": 1, "factorised": 1}
    # conv, head, and one input and one recurrent matrix of each recurrent layer
    assert len(sparse) == few.get(name, 8)


def test_soup_of_what_a_pruned_model_became() -> None:
    first = gradual(Tagger())
    train(first, 6)
    first.finish()
    made = []
    for rate in (1e-3, 1e-2):
        model = copy.deepcopy(first.model)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        held = GradualPruner(model, optimizer, sparsity=0.5, initial=0.5, end=0)
        train(Run(model, optimizer, held.finish), 3)
        held.finish()
        made.append(model.state_dict())
    mixed = Tagger()
    mixed.load_state_dict(soup(made))
    for slot, before in zip(slots(mixed), slots(first.model), strict=True):
        assert torch.equal(slot.weight == 0, before.weight == 0)
    torch.testing.assert_close(mixed.head.bias, (made[0]["head.bias"] + made[1]["head.bias"]) / 2)
