"""Programs of plain `torch.export`: frozen time is freed where that is certain, and only there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends.load import load
from edgeseq.frontends.torch import import_torch
from edgeseq.ir import facts
from tests.frontends.test_torch import assert_same
from tests.zoo import models

torch.set_num_threads(1)

pytestmark = pytest.mark.filterwarnings("ignore")


def frozen(make: Callable[[], models.Made]) -> tuple[nn.Module, ExportedProgram]:
    module, inputs, _ = make()
    module.eval()
    return module, torch.export.export(module, inputs)


def shapes(program: ExportedProgram) -> list[list[str]]:
    model = import_torch(program)
    return [[str(dim) for dim in value.shape or ()] for value in model.graph.inputs]


@pytest.mark.parametrize(
    ("make", "name", "shape"),
    [
        (models.denoiser, "bands", (1, 23, 22)),
        (models.conv_recurrent, "spectrum", (1, 2, 13, 33)),
        (models.keyword_spotter, "mfcc", (2, 31, 13)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_frozen_time_is_freed(
    make: Callable[[], models.Made], name: str, shape: tuple[int, ...]
) -> None:
    module, program = frozen(make)
    model = import_torch(program)
    axis = facts.get(model.graph.inputs[0], facts.TimeAxis)
    assert axis is not None
    assert axis.symbol == "T"
    assert facts.get(model, facts.Warnings) is None
    feeds = {name: torch.randn(shape)}
    if len(model.graph.inputs) == 2:
        feeds["h"] = torch.randn(2, 1, 24)
    assert_same(module, model, feeds)


class OwnMean(nn.Module):
    """The mean over time with the length computed by Python."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.GRU(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.core(x)
        return y.sum(1) / x.shape[1]


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.core = nn.GRU(4, 4, batch_first=True)
        self.positions = nn.Parameter(torch.randn(1, 50, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x + self.positions[:, : x.shape[1]])[0]


@pytest.mark.parametrize(
    ("module", "text"),
    [(OwnMean(), "y.sum(1) / x.shape[1] (the number 9)"), (Positions(), "(the number 9)")],
    ids=["mean", "positions"],
)
def test_numbers_that_may_be_the_length_keep_it_frozen(module: nn.Module, text: str) -> None:
    program = torch.export.export(module.eval(), (torch.randn(1, 9, 4),))
    model = import_torch(program)
    assert [str(dim) for dim in model.graph.inputs[0].shape or ()] == ["1", "9", "4"]
    warning = facts.get(model, facts.Warnings)
    assert warning is not None
    assert warning.text.startswith("time is fixed to 9 steps: ")
    assert text in warning.text
    x = torch.randn(1, 9, 4)
    assert_same(module, model, {"x": x})


def test_asking_for_it_is_refused_with_the_line() -> None:
    program = torch.export.export(OwnMean().eval(), (torch.randn(1, 9, 4),))
    with pytest.raises(UnsupportedModelError) as caught:
        import_torch(program, None, {"x": {1: "T"}})
    assert caught.value.what == "dimension 'T' is frozen to 9 in the program"
    assert "y.sum(1) / x.shape[1] (the number 9)" in caught.value.at[0]
    assert "package.module:factory" in caught.value.fix


class Window(nn.Module):
    """Frames by a number that is not the length, but could have been computed from it."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.GRU(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)[0][:, 2:]


class Square(nn.Module):
    """As many features as frames: a reshape does not tell which is which."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.GRU(9, 9, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)[0].reshape(9, 9)


@pytest.mark.parametrize(
    ("module", "features", "text"),
    [(Window(), 4, "[:, 2:] (the number 2)"), (Square(), 9, "reshape(9, 9) (the number 9)")],
    ids=["window", "square"],
)
def test_doubt_keeps_it_frozen(module: nn.Module, features: int, text: str) -> None:
    program = torch.export.export(module.eval(), (torch.randn(1, 9, features),))
    warning = facts.get(import_torch(program), facts.Warnings)
    assert warning is not None
    assert text in warning.text


def test_names_the_user_gives() -> None:
    _, program = frozen(models.denoiser)
    model = import_torch(program, None, {"bands": {1: "frames"}})
    assert facts.get(model.graph.inputs[0], facts.TimeAxis) == facts.TimeAxis(1, "frames")


def test_one_step_stays_one_step() -> None:
    program = torch.export.export(
        models.Denoiser().eval(), (torch.randn(1, 1, 22), torch.zeros(2, 1, 24))
    )
    assert shapes(program) == [["1", "1", "22"], ["2", "1", "24"]]


def test_a_dynamic_program_keeps_its_symbols() -> None:
    module, inputs, _ = models.causal_convolution()
    program = torch.export.export(
        module.eval(), inputs, dynamic_shapes=({2: Dim("length", min=10)},)
    )
    model = import_torch(program)
    assert facts.get(model.graph.inputs[0], facts.TimeAxis) == facts.TimeAxis(2, "T")
    assert_same(module, model, {"x": torch.randn(1, 4, 31)})


def test_file(tmp_path: Path) -> None:
    module, program = frozen(models.denoiser)
    file = tmp_path / "denoiser.pt2"
    torch.export.save(program, file)
    imported = load(file)
    assert imported.source["spec"] == str(file)
    assert facts.get(imported.model.graph.inputs[0], facts.TimeAxis) == facts.TimeAxis(1, "T")
    assert sorted(imported.model.graph.initializers)[0] == "core.bias_ih_l0"
    assert_same(
        module, imported.model, {"bands": torch.randn(1, 5, 22), "h": torch.zeros(2, 1, 24)}
    )
