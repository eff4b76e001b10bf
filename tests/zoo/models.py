"""Whole small models of the kinds people ship."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

Made = tuple[nn.Module, Any, dict[str, Any] | None]


class Denoiser(nn.Module):
    """Band energies -> GRU -> gains, with the state outside: the classic noise suppressor."""

    def __init__(self, bands: int = 22, hidden: int = 24) -> None:
        super().__init__()
        self.encoder = nn.Linear(bands, hidden)
        self.core = nn.GRU(hidden, hidden, num_layers=2, batch_first=True)
        self.gains = nn.Linear(hidden, bands)

    def forward(self, bands: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.tanh(self.encoder(bands))
        x, h = self.core(x, h)
        gains = torch.sigmoid(self.gains(x))
        return gains, h


def denoiser() -> Made:
    """Two GRU layers with a carried state and a dynamic time axis."""
    torch.manual_seed(0)
    return Denoiser(), (torch.randn(1, 10, 22), torch.zeros(2, 1, 24)), {"bands": {1: "T"}}


class KeywordSpotter(nn.Module):
    """Convolutions over time, batch normalisation, bidirectional LSTM, mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv1d(13, 16, 5, padding=2),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv1d(16, 16, 3, padding=1, groups=16),
            nn.PReLU(16),
        )
        self.core = nn.LSTM(16, 12, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 6)

    def forward(self, mfcc: Tensor) -> Tensor:
        x = self.front(mfcc.transpose(1, 2)).transpose(1, 2)
        x, _ = self.core(x)
        return torch.log_softmax(self.head(self.norm(x).mean(1)), -1)


def keyword_spotter() -> Made:
    """Whole-utterance classification with dynamic batch and time."""
    torch.manual_seed(0)
    module = KeywordSpotter()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return module, (torch.randn(2, 20, 13),), {"mfcc": {0: "batch", 1: "T"}}


class ConvRecurrent(nn.Module):
    """Frequency convolutions around a GRU over time, as conv-recurrent enhancers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(2, 8, (1, 5), (1, 2), (0, 2))
        self.norm = nn.BatchNorm2d(8)
        self.core = nn.GRU(8 * 17, 32, batch_first=True)
        self.back = nn.Linear(32, 8 * 17)
        self.up = nn.ConvTranspose2d(8, 2, (1, 5), (1, 2), (0, 2))

    def forward(self, spectrum: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.down(spectrum)))
        batch, channels, steps, bins = x.shape
        flat = x.permute(0, 2, 1, 3).reshape(batch, steps, channels * bins)
        y = self.back(self.core(flat)[0])
        x = x + y.reshape(batch, steps, channels, bins).permute(0, 2, 1, 3)
        return torch.tanh(self.up(x))


def conv_recurrent() -> Made:
    """Spectra [1, 2, T, 33]."""
    torch.manual_seed(0)
    return ConvRecurrent(), (torch.randn(1, 2, 9, 33),), {"spectrum": {2: "T"}}


class CausalConvolution(nn.Module):
    """Unpadded strided convolution: fewer frames come out, and some are needed to get any."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 5, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def causal_convolution() -> Made:
    """Time is the only symbol, without any recurrence."""
    torch.manual_seed(0)
    return CausalConvolution(), (torch.randn(1, 4, 20),), {"x": {2: "T"}}


class ScanRecurrence(nn.Module):
    """A cell of the user's own, looped by torch's scan."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        def step(h: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
            h = self.cell(frame, h)
            return h, self.head(h)

        last, y = scan(step, h, x)
        return y, last


def scan_recurrence() -> Made:
    """Input [T, B, 4]."""
    torch.manual_seed(0)
    return ScanRecurrence(), (torch.randn(6, 2, 4), torch.randn(2, 6)), {"x": {0: "T"}}


class SharedAndTied(nn.Module):
    """One GRU called twice, and an LSTM whose recurrent weight is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.GRU(6, 6, batch_first=True)
        self.normed = nn.utils.parametrizations.weight_norm(nn.LSTM(6, 5), "weight_hh_l0")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        a, _ = self.shared(x)
        b, _ = self.shared(a)
        c, _ = self.normed(b.transpose(0, 1))
        return {"features": b, "scores": c}


def shared_and_tied() -> Made:
    """Outputs are a dict."""
    torch.manual_seed(0)
    return SharedAndTied(), {"x": torch.randn(1, 7, 6)}, {"x": {1: "T"}}


ALL = (
    denoiser,
    keyword_spotter,
    conv_recurrent,
    causal_convolution,
    scan_recurrence,
    shared_and_tied,
)


class StatefulStep(nn.Module):
    """One frame at a time, with the state in buffers of the module."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.GRUCell(4, 6)
        self.register_buffer("h", torch.zeros(1, 6))
        self.register_buffer("level", torch.ones(1, 4))

    def forward(self, frame: Tensor) -> Tensor:
        self.level = 0.9 * self.level + 0.1 * frame.abs()
        self.h.copy_(self.core(frame / self.level, self.h))
        return self.h.sum(-1)


def stateful_step() -> Made:
    """Buffers are overwritten in both ways that Python has."""
    torch.manual_seed(0)
    return StatefulStep(), (torch.randn(1, 4),), None
