"""One step of the real models' architectures, small: every state is an input and an output.

They have the operators and the data flow that make the real ones hard, so that a clone without
the real models tests the same paths. Each function returns `(module, example_inputs, None)`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Made = tuple[nn.Module, tuple[Any, ...], None]
Outputs = dict[str, Tensor]


class GroupedGru(nn.Module):
    """Channels in two halves, each with a GRU of its own."""

    def __init__(self, width: int, both: bool) -> None:
        super().__init__()
        hidden = width // (4 if both else 2)
        self.a = nn.GRU(width // 2, hidden, batch_first=True, bidirectional=both)
        self.b = nn.GRU(width // 2, hidden, batch_first=True, bidirectional=both)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        xa, xb = x.chunk(2, -1)
        ha, hb = (None, None) if h is None else h.chunk(2, -1)
        ya, ha = self.a(xa, None if ha is None else ha.contiguous())
        yb, hb = self.b(xb, None if hb is None else hb.contiguous())
        return torch.cat([ya, yb], -1), torch.cat([ha, hb], -1)


class TemporalBlock(nn.Module):
    """Half of the channels through a convolution over cached frames, gated by a GRU; shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.bands = nn.Conv2d(3 * half, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.PReLU(channels)
        self.depth = nn.Conv2d(channels, channels, 3, padding=(0, 1), groups=channels)
        self.point = nn.Conv2d(channels, half, 1)
        self.attend = nn.GRU(half, channels, batch_first=True)
        self.gate = nn.Linear(channels, half)

    def forward(self, x: Tensor, cache: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, kept = x.chunk(2, 1)
        wide = functional.pad(x, (1, 1))
        neighbours = torch.cat([wide[..., i : i + x.shape[-1]] for i in range(3)], 1)
        y = self.act(self.norm(self.bands(neighbours)))
        frames = torch.cat([cache, y], 2)
        y = self.point(self.depth(frames))
        energy, h = self.attend(y.pow(2).mean(-1).transpose(1, 2), h)
        y = y * torch.sigmoid(self.gate(energy)).transpose(1, 2)[..., None]
        both = torch.stack([y, kept], 2)
        return both.flatten(1, 2), frames[:, :, 1:], h


class ConvRecurrentStep(nn.Module):
    """A frame of a spectrum through convolutions, attention over time, and a dual-path GRU."""

    def __init__(self, bins: int = 33, channels: int = 8) -> None:
        super().__init__()
        self.low = 9
        self.bands = nn.Linear(bins - self.low, 16, bias=False)
        self.bands_back = nn.Linear(16, bins - self.low, bias=False)
        self.down = nn.Conv2d(3, channels, (1, 5), (1, 2), (0, 2))
        self.down_norm = nn.BatchNorm2d(channels)
        self.down_act = nn.PReLU()
        self.blocks = nn.ModuleList([TemporalBlock(channels), TemporalBlock(channels)])
        self.within = GroupedGru(channels, both=True)
        self.within_norm = nn.LayerNorm((13, channels))
        self.between = GroupedGru(channels, both=False)
        self.between_norm = nn.LayerNorm((13, channels))
        self.up_norm = nn.BatchNorm2d(2)
        self.up = nn.ConvTranspose2d(channels, 2, (1, 5), (1, 2), (0, 2))

    def forward(self, mix: Tensor, conv_cache: Tensor, tra_cache: Tensor, inter_cache: Tensor
                ) -> Outputs:  # fmt: skip
        real, imaginary = mix[..., 0].transpose(1, 2), mix[..., 1].transpose(1, 2)
        magnitude = torch.sqrt(real**2 + imaginary**2 + 1e-12)
        x = torch.stack([magnitude, real, imaginary], 1)
        x = torch.cat([x[..., : self.low], self.bands(x[..., self.low :])], -1)
        first = x = self.down_act(self.down_norm(self.down(x)))
        new_conv, new_tra = conv_cache.clone(), tra_cache.clone()
        for i, block in enumerate(self.blocks):
            x, cache, h = block(x, conv_cache[i], tra_cache[i])
            new_conv[i], new_tra[i] = cache, h
        x, inter_cache = self.dual_path(x, inter_cache)
        x = torch.tanh(self.up_norm(self.up(x + first)))
        mask = torch.cat([x[..., : self.low], self.bands_back(x[..., self.low :])], -1)
        a, b = mask[:, 0], mask[:, 1]
        enhanced = torch.stack([real * a - imaginary * b, imaginary * a + real * b], 1)
        return {
            "enh": enhanced.permute(0, 3, 2, 1),
            "conv_cache_out": new_conv,
            "tra_cache_out": new_tra,
            "inter_cache_out": inter_cache,
        }

    def dual_path(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Along the bands with both directions, then along time for every band."""
        x = x.permute(0, 2, 3, 1)  # [B, T, F, C]
        y, _ = self.within(x.flatten(0, 1))
        x = x + self.within_norm(y.reshape(x.shape))
        y, cache = self.between(x.permute(0, 2, 1, 3).flatten(0, 1), cache)
        y = y.reshape(x.shape[0], x.shape[2], x.shape[1], x.shape[3]).permute(0, 2, 1, 3)
        return (x + self.between_norm(y)).permute(0, 3, 1, 2), cache


def conv_recurrent_step() -> Made:
    """Three caches; two of them are written slice by slice."""
    torch.manual_seed(0)
    module = ConvRecurrentStep()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    caches = (torch.zeros(2, 1, 8, 2, 13), torch.zeros(2, 1, 1, 8), torch.zeros(1, 13, 8))
    return module, (torch.randn(1, 33, 1, 2), *caches), None


class DualLstmStep(nn.Module):
    """Two LSTM layers, the second written out; one tensor [1, 2, H, 2] holds all their states."""

    def __init__(self, bins: int = 40, hidden: int = 24) -> None:
        super().__init__()
        self.encode = nn.Conv1d(bins, bins, 1, bias=False)
        self.norm = nn.LayerNorm(bins, eps=1e-7)
        self.first = nn.LSTM(bins, hidden, batch_first=True)
        self.gates = nn.Linear(2 * hidden, 4 * hidden)
        self.mask = nn.Linear(hidden, bins)

    def forward(self, mag: Tensor, state: Tensor) -> Outputs:
        x = self.norm(self.encode(mag.transpose(1, 2)).transpose(1, 2))
        h1, c1 = state[:, 0:1, :, 0], state[:, 0:1, :, 1]
        h2, c2 = state[:, 1, :, 0], state[:, 1, :, 1]
        y, (h1, c1) = self.first(x, (h1.contiguous(), c1.contiguous()))
        i, f, g, o = self.gates(torch.cat([y[:, 0], h2], -1)).chunk(4, -1)
        c2 = torch.sigmoid(f) * c2 + torch.sigmoid(i) * torch.tanh(g)
        h2 = torch.sigmoid(o) * torch.tanh(c2)
        h, c = torch.stack([h1[0], h2], 1), torch.stack([c1[0], c2], 1)
        mask = torch.sigmoid(self.mask(h2))[:, None]
        return {"masked": mag * mask, "state_out": torch.stack([h, c], -1)}


def dual_lstm_step() -> Made:
    """A magnitude frame [1, 1, 40]."""
    torch.manual_seed(0)
    return DualLstmStep(), (torch.rand(1, 1, 40), torch.zeros(1, 2, 24, 2)), None


class VoiceActivityStep(nn.Module):
    """Samples -> STFT as a convolution -> strided convolutions -> LSTM -> probability."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Conv1d(1, 34, 32, stride=16, bias=False)
        self.stack = nn.Sequential(
            nn.Conv1d(17, 24, 3, padding=1), nn.ReLU(),
            nn.Conv1d(24, 12, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv1d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.core = nn.LSTMCell(24, 24)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(24, 1, 1), nn.Sigmoid())

    def forward(self, samples: Tensor, state: Tensor) -> Outputs:
        x = functional.pad(samples[:, None], (0, 8), mode="reflect")
        real, imaginary = self.basis(x).chunk(2, 1)
        x = self.stack(torch.sqrt(real**2 + imaginary**2)).mean(-1)
        h, c = self.core(x, (state[0], state[1]))
        probability = self.head(h[..., None]).mean(1)
        return {"probability": probability, "state_out": torch.stack([h, c])}


def voice_activity_step() -> Made:
    """72 samples a step."""
    torch.manual_seed(0)
    return VoiceActivityStep(), (torch.randn(1, 72), torch.zeros(2, 1, 24)), None
