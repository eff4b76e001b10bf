"""What cannot be traced is refused with the user's line, the reason and a way out."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from edgeseq.errors import UnsupportedModelError, UsageError
from edgeseq.frontends.torch import import_torch

torch.set_num_threads(1)

X = torch.randn(1, 20, 4)


def line_of(module: nn.Module, text: str) -> str:
    """`test_torch_errors.py:12 in forward: ...` for the line of forward that holds this text."""
    lines, start = inspect.getsourcelines(module.forward)
    offset = next(i for i, line in enumerate(lines) if text in line)
    return f"{Path(__file__).name}:{start + offset} in forward: {lines[offset].strip()}"


def refusal(module: nn.Module, *args: Any, **kwargs: Any) -> UnsupportedModelError:
    with pytest.raises(UnsupportedModelError) as caught:
        import_torch(module, *args, **kwargs)
    assert caught.value.exit_code == 3
    return caught.value


class BranchOnValue(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


class SliceByValue(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        count = int(x.abs().sum())
        return x[:, :count]


@pytest.mark.parametrize(
    ("module", "text"),
    [(BranchOnValue(), "if x.sum()"), (SliceByValue(), "int(x")],
    ids=["branch", "slice"],
)
def test_control_flow_on_values(module: nn.Module, text: str) -> None:
    error = refusal(module, (X,), {"x": {1: "T"}})
    assert error.what == "the control flow of the module depends on the values of tensors"
    assert len(error.at) == 1
    assert error.at[0].endswith(line_of(module, text))
    assert "torch.where" in error.fix


class LoopOverTime(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x[:, 0]
        for step in range(x.shape[1]):
            y = 0.9 * y + x[:, step]
        return y


class WrittenLength(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(1, 80)


@pytest.mark.parametrize(
    ("module", "text"),
    [(LoopOverTime(), "for step"), (WrittenLength(), "reshape(1, 80)")],
    ids=["loop", "reshape"],
)
def test_fixed_length(module: nn.Module, text: str) -> None:
    error = refusal(module, (X,), {"x": {1: "T"}})
    assert error.what == (
        "dimension 'T' (axis 1 of input 'x') cannot vary: the module works for size 20 only"
    )
    assert error.at[0].endswith(line_of(module, text))
    assert "scan" in error.fix


def test_fixed_length_is_fine_when_static() -> None:
    model = import_torch(LoopOverTime(), (X,))
    assert [str(dim) for dim in model.graph.inputs[0].shape or ()] == ["1", "20", "4"]


class WrongShapes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x + 1
        return y @ torch.zeros(5, 5)


class ThroughNumpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.numpy() * 2)


@pytest.mark.parametrize(
    ("module", "text", "why"),
    [
        (WrongShapes(), "torch.zeros", "RuntimeError: "),
        (ThroughNumpy(), "x.numpy()", "RuntimeError: .numpy() is not supported"),
    ],
    ids=["shapes", "numpy"],
)
def test_python_errors(
    module: nn.Module, text: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    error = refusal(module, (X,))
    assert error.what == "the module cannot be traced"
    assert error.at[0].endswith(line_of(module, text))
    assert error.why.startswith(why)
    assert capfd.readouterr().err == ""


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.core = nn.GRU(4, 3, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        return self.core(packed)[1]


def test_packed_sequences() -> None:
    module = Packed()
    error = refusal(module, (X, torch.tensor([20])))
    assert error.what.startswith("packed sequences")
    assert error.at[-1].endswith(line_of(module, "pack_padded_sequence"))


class Untranslatable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.linalg.eigvals(x[:, :4]).abs()
        z = torch.linalg.qr(x[:, :4])[0]
        return y + z.sum()


def test_every_operator_without_a_translation_is_listed() -> None:
    module = Untranslatable()
    error = refusal(module, (X,))
    assert "aten.linalg_eigvals" in error.what or "aten.linalg_eig" in error.what
    assert "aten.linalg_qr" in error.what
    assert any(at.endswith(line_of(module, "eigvals")) for at in error.at)
    assert any(at.endswith(line_of(module, "qr(")) for at in error.at)


class WritesToInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return x


def test_arguments_that_are_overwritten() -> None:
    error = refusal(WritesToInput(), (X,))
    assert error.at == ("argument 'x'",)


@pytest.mark.parametrize(
    ("dynamic", "message"),
    [
        ({"y": {1: "T"}}, "dynamic names 'y', which is no input\n  fix: known: x"),
        ({"x": {3: "T"}}, "dynamic: input 'x' has 3 axes, no axis 3"),
        ({"x": {1: "2 * T"}}, "dynamic: '2 * T' is no name for a dimension\n  fix: e.g. 'T'"),
        (
            {"x": {1: 2.5}},
            "dynamic: axis 1 of input 'x' is 2.5\n"
            "  fix: name the dimension with a string or a torch.export.Dim",
        ),
        (
            {"x": {0: "T", 1: "T"}},
            "dynamic: dimension 'T' is 20 at axis 1 of input 'x' and 1 elsewhere\n"
            "  fix: give example inputs whose sizes agree and are not zero",
        ),
    ],
)
def test_dynamic_that_does_not_fit(dynamic: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        import_torch(BranchOnValue(), (X,), dynamic)
    assert str(caught.value) == message


@pytest.mark.parametrize("inputs", [(), (X, X), {"y": X}])
def test_example_inputs_that_do_not_fit(inputs: Any) -> None:
    with pytest.raises(UsageError, match=r"the example inputs do not fit forward\(x") as caught:
        import_torch(BranchOnValue(), inputs)
    assert caught.value.exit_code == 2


def test_a_failure_leaves_the_module_alone() -> None:
    module = BranchOnValue()
    assert module.training
    refusal(module, (X,))
    assert module.training
    assert torch.overrides._get_current_function_mode_stack() == []


class ReturnsNumber(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return x * 2, 3


def test_outputs_that_are_no_tensors() -> None:
    error = refusal(ReturnsNumber(), (X,))
    assert error.what == "forward returns what is no tensor: 3"


def test_what_is_no_module() -> None:
    with pytest.raises(UsageError, match=r"type function is not a torch\.nn\.Module"):
        import_torch(lambda x: x, (X,))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_torchscript() -> None:
    error = refusal(torch.jit.script(nn.Linear(4, 4)), (X,))
    assert error.what == "TorchScript modules are not supported"
