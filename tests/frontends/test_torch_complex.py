"""Operators on complex tensors, between a transform and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeseq.frontends.torch import import_torch
from tests.frontends.test_torch import assert_same

torch.set_num_threads(1)

# (spectrum [1, 2, 33], mask [1, 2, 33]) -> complex or real
OPERATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pad": lambda x, _: functional.pad(x, (0, 1, 2, 0)),
    "pad a value": lambda x, _: functional.pad(x, (1, 1), value=0.5),
    "pad reflecting": lambda x, _: functional.pad(x, (3, 2), mode="reflect"),
    "unsqueeze and squeeze": lambda x, m: (x.unsqueeze(-2) * m.unsqueeze(2)).squeeze(-2),
    "index": lambda x, _: x[:, -1],
    "take": lambda x, _: x.index_select(-1, torch.tensor([3, 1])),
    "split": lambda x, _: torch.cat(x.split([30, 3], dim=-1)[::-1], dim=-1),
    "chunk": lambda x, _: x.chunk(2, 1)[1],
    "unbind": lambda x, _: x.unbind(1)[0],
    "expand": lambda x, _: x[:, :1].expand(-1, 4, -1),
    "repeat": lambda x, _: x.repeat(1, 2, 1),
    "where": lambda x, m: torch.where(m > 0, x, torch.zeros_like(x)),
    "where real": lambda x, m: torch.where(m > 0, x, m),
    "cumsum": lambda x, _: x.cumsum(-2),
    "ones": lambda x, m: x + torch.ones_like(x) * m,
    "times i": lambda x, m: x * 1j + m * (2 - 1j),
    "exp": lambda x, m: x * torch.exp(1j * m),
    "polar": lambda x, m: torch.polar(x.abs() * m.sigmoid(), x.angle()),
    "compressed": lambda x, _: x.abs() ** 0.3 * torch.exp(1j * x.angle()),
    "sgn": lambda x, _: x.sgn(),
    "einsum": lambda x, _: torch.einsum("btf,bsf->bts", x, x.conj()),
    "einsum of one": lambda x, _: torch.einsum("btf->bft", x),
    "inverse of more points": lambda x, m: torch.fft.irfft(x * m, n=80),
    "inverse of fewer points": lambda x, m: torch.fft.irfft(x * m, n=40, norm="ortho"),
    "transform of more points": lambda x, _: torch.fft.fft(x, n=64, dim=-1),
    "inverse along another axis": lambda x, _: torch.fft.ifft(x, n=4, dim=1),
}


class Spectral(nn.Module):
    def __init__(self, operator: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        found = self.operator(torch.fft.rfft(x), mask)
        return torch.view_as_real(found) if found.is_complex() else found


@pytest.mark.parametrize("name", list(OPERATORS))
def test_same_numbers(name: str) -> None:
    source = torch.Generator().manual_seed(0)
    x, mask = (torch.randn(1, 2, size, generator=source) for size in (64, 33))
    module = Spectral(OPERATORS[name])
    model = import_torch(module, (x / 8, mask))
    assert_same(module, model, {"x": x / 8, "mask": mask})
