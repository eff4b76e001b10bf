"""What modules of well-known libraries do, and tracing or exporting them stumbles over."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends.torch import import_torch
from edgeseq.ir import facts
from tests.frontends.test_torch import assert_same
from tests.zoo.asserts import Asserts

torch.set_num_threads(1)


class PaddedByBuffers(nn.Module):
    """Encodec's convolution: kernel and stride are buffers, and decide how much is padded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 7, stride=4)
        self.register_buffer("stride", torch.tensor(4))
        self.register_buffer("size", torch.tensor(7))

    def forward(self, x: Tensor) -> Tensor:
        frames = torch.ceil((x.shape[-1] - self.size) / self.stride + 1).to(torch.int64) - 1
        extra = frames * self.stride + self.size - x.shape[-1]
        left = self.size - self.stride + extra % self.stride
        if x.shape[-1] <= left:
            x = functional.pad(x, (0, int(left) - x.shape[-1] + 1))
        return self.conv(functional.pad(x, (int(left), 0), mode="reflect"))


class AttentionThenView(nn.Module):
    """Fused attention gives strides that allow a view, its decomposition does not."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.bias = nn.Parameter(torch.randn(1, 4, 5, 5)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (4, 4)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.bias)
        return y.transpose(1, 2).reshape(*x.shape[:2], -1)


class Squeezes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze(1).squeeze(-1).squeeze(0)


class Ranges(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(0, x.shape[-1], 1.0) + torch.arange(0.5, x.shape[-1])


class KeepsTransposed(nn.Module):
    """A weight that is stored as the transpose of another memory."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("dct", torch.randn(6, 4).t())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.dct


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (PaddedByBuffers(), (1, 2, 50)),
        (AttentionThenView(bias=False), (1, 5, 16)),
        (AttentionThenView(bias=True), (1, 5, 16)),
        (Squeezes(), (1, 3, 4)),
        (Ranges(), (1, 4)),
        (KeepsTransposed(), (2, 4)),
        (Asserts(), (1, 4)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_same_numbers(module: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert_same(module, import_torch(module, (x,)), {"x": x})


class Counts(nn.Module):
    """A buffer that is written to is no constant, whatever its value was at first."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x / self.seen


def test_counters_stay_states() -> None:
    model = import_torch(Counts(), (torch.ones(1, 3),))
    assert [value.name for value in model.graph.inputs if facts.get(value, facts.State)]


class Branches(Counts):
    def forward(self, x: Tensor) -> Tensor:
        first = bool(self.seen == 0)
        self.seen += 1
        return x if first else 2 * x


def test_a_branch_on_a_counter_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="depends on the values of tensors"):
        import_torch(Branches(), (torch.ones(1, 3),))


class DecidesByValues(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if (x > 0).all():
            return x
        return -x


def test_other_branches_on_values_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="depends on the values of tensors"):
        import_torch(DecidesByValues(), (torch.ones(1, 3),))


class FromLengths(nn.Module):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return x * (torch.arange(int(lengths.max())) < lengths.unsqueeze(1))


def test_a_length_that_is_a_value_is_called_that() -> None:
    with pytest.raises(UnsupportedModelError, match="depends on the values of tensors"):
        import_torch(FromLengths(), (torch.ones(1, 3), torch.tensor([3])))


def test_a_half_buffer_does_not_make_the_reference_half() -> None:
    from edgeseq import validate

    module = nn.Linear(4, 4)
    module.register_buffer("scale", torch.tensor(math.pi, dtype=torch.bfloat16))
    oracle = validate.PyTorch(module, (torch.ones(1, 4),), ["x"], ["y"])
    assert oracle.in_own_type().name == "pytorch float32"
    half = nn.Linear(4, 4).to(torch.bfloat16)
    oracle = validate.PyTorch(half, (torch.ones(1, 4),), ["x"], ["y"])
    assert oracle.in_own_type().name == "pytorch bfloat16"
