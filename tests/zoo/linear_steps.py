"""One step of models with linear recurrences: attention by a decaying state, selective states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Made = tuple[nn.Module, tuple[Any, ...], None]
Outputs = dict[str, Tensor]


class MixLayer(nn.Module):
    """Token shift, heads with a decaying outer-product state, group norm, squared ReLU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mix = nn.Parameter(torch.rand(6, width))
        self.parts = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(5)])
        self.decay = nn.Parameter(torch.rand(heads, self.size, 1))
        self.bonus = nn.Parameter(torch.randn(heads, self.size, 1))
        self.group = nn.GroupNorm(heads, width, eps=64e-5)
        self.grow = nn.Linear(width, 3 * width, bias=False)
        self.shrink = nn.Linear(3 * width, width, bias=False)
        self.receive = nn.Linear(width, width, bias=False)

    def shifted(self, index: int, x: Tensor, last: Tensor) -> Tensor:
        """A share of this token and the rest of the one before."""
        return x * self.mix[index] + last * (1 - self.mix[index])

    def forward(self, x: Tensor, att_x: Tensor, ffn_x: Tensor, s: Tensor) -> tuple[Tensor, ...]:
        now = self.norms[0](x)
        r, k, v, g = (p(self.shifted(i, now, att_x)) for i, p in enumerate(list(self.parts)[:4]))
        r, k = r.reshape(self.heads, 1, self.size), k.reshape(self.heads, self.size, 1)
        a = k @ v.reshape(self.heads, 1, self.size)
        y = self.group((r @ (self.bonus * a + s)).reshape(1, -1)) * functional.silu(g)
        x = x + self.parts[4](y)
        then = self.norms[1](x)
        grown = torch.relu(self.grow(self.shifted(4, then, ffn_x))) ** 2
        gate = torch.sigmoid(self.receive(self.shifted(5, then, ffn_x)))
        return x + gate * self.shrink(grown), now, then, a + self.decay * s


class TokenStep(nn.Module):
    """A token in, logits out; every layer's states stacked."""

    def __init__(self, tokens: int = 50, width: int = 32, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, width)
        self.first = nn.LayerNorm(width)
        self.layers = nn.ModuleList([MixLayer(width, heads) for _ in range(layers)])
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)

    def forward(self, token: Tensor, att_x: Tensor, ffn_x: Tensor, s: Tensor) -> Outputs:
        x = self.first(self.embed(token))
        news: list[tuple[Tensor, ...]] = []
        for i, layer in enumerate(self.layers):
            x, *new = layer(x, att_x[i : i + 1], ffn_x[i : i + 1], s[i])
            news.append(tuple(new))
        att, ffn, states = zip(*news, strict=True)
        return {
            "logits": self.head(self.last(x)),
            "att_x_out": torch.cat(att),
            "ffn_x_out": torch.cat(ffn),
            "s_out": torch.stack(states),
        }


def token_step() -> Made:
    """Linear attention with token shift."""
    torch.manual_seed(0)
    states = (torch.zeros(2, 32), torch.zeros(2, 32), torch.zeros(2, 4, 8, 8))
    return TokenStep(), (torch.tensor([7]), *states), None


class SelectiveStep(nn.Module):
    """A selective state space; classifies by the mean over all steps so far."""

    def __init__(self, features: int = 20, width: int = 16, inner: int = 32, size: int = 8) -> None:
        super().__init__()
        self.inner, self.rank, self.size = inner, 4, size
        self.embed = nn.Linear(features, width)
        self.enter = nn.Linear(width, 2 * inner, bias=False)
        self.taps = nn.Parameter(torch.randn(inner, 4) * 0.3)
        self.taps_bias = nn.Parameter(torch.randn(inner) * 0.1)
        self.select = nn.Linear(inner, self.rank + 2 * size, bias=False)
        self.rate = nn.Linear(self.rank, inner)
        self.log_decay = nn.Parameter(torch.log(torch.arange(1.0, size + 1)).repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, width, bias=False)
        self.head = nn.Linear(width, 10)

    def forward(
        self, frame: Tensor, conv_state: Tensor, ssm_state: Tensor, y_sum: Tensor, count: Tensor
    ) -> Outputs:
        x, z = self.enter(self.embed(frame)).chunk(2, -1)
        window = torch.cat([conv_state, x[..., None]], 2)
        x = functional.silu((window * self.taps).sum(-1) + self.taps_bias)
        rate, b, c = self.select(x).split([self.rank, self.size, self.size], -1)
        rate = functional.softplus(self.rate(rate))
        decay = torch.exp(rate[..., None] * -torch.exp(self.log_decay))
        ssm_state = decay * ssm_state + (rate * x)[..., None] * b[:, None]
        y = (ssm_state @ c[..., None])[..., 0] + x * self.skip
        y_sum = y_sum + self.leave(y * functional.silu(z))
        count = count + 1
        return {
            "logits": self.head(y_sum / count),
            "conv_state_out": window[..., 1:],
            "ssm_state_out": ssm_state,
            "y_sum_out": y_sum,
            "count_out": count,
        }


def selective_step() -> Made:
    """A frame [1, 20] and four states."""
    torch.manual_seed(0)
    states = (torch.zeros(1, 32, 3), torch.zeros(1, 32, 8), torch.zeros(1, 16), torch.zeros(1))
    return SelectiveStep(), (torch.randn(1, 20), *states), None
