"""The operators that stand for recurrent layers compute what torch computes, and say its shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends.torch_ops import KeepRecurrent
from tests.zoo import recurrent
from tests.zoo.recurrent import Variant

torch.set_num_threads(1)

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")


@torch.no_grad()
@pytest.mark.parametrize("variant", recurrent.sweep(), ids=str)
def test_same_numbers_and_shapes(variant: Variant) -> None:
    module, inputs, _ = recurrent.layer(variant)
    module.eval()
    want = module(*inputs)
    with KeepRecurrent():
        got = module(*inputs)
        with FakeTensorMode(allow_non_fake_inputs=True) as fake:
            shapes = module(*(fake.from_tensor(x) for x in inputs))
    for one, other, shape in zip(got, want, shapes, strict=True):
        assert torch.equal(one, other)
        assert shape.shape == other.shape


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gru", "lstm", "rnn_tanh", "rnn_relu"])
def test_cells(kind: str) -> None:
    module, inputs, _ = recurrent.cell(kind)
    want = module(*inputs)
    with KeepRecurrent():
        got = module(*inputs)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)  # sums in another order


def test_packed_sequences_are_refused() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.randn(4, 5), torch.randn(2, 5)])
    for module in (nn.GRU(5, 3), nn.LSTM(5, 3), nn.RNN(5, 3)):
        with KeepRecurrent(), pytest.raises(UnsupportedModelError, match="packed sequences"):
            module(packed)
