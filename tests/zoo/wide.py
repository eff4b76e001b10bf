"""Models whose operators are rare but which people bring: spectra, caches, routing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

Made = tuple[nn.Module, Any, dict[str, Any] | None]


class SpectralMask(nn.Module):
    """torch.stft -> GRU -> mask -> torch.istft: a denoiser of whole clips."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(64))
        self.core = nn.GRU(33, 33, batch_first=True)

    def forward(self, clip: Tensor) -> Tensor:
        spectrum = torch.stft(clip, 64, 16, window=self.window, return_complex=True)
        mask = torch.sigmoid(self.core(spectrum.abs().transpose(1, 2))[0]).transpose(1, 2)
        return torch.istft(spectrum * mask, 64, 16, window=self.window, length=clip.shape[-1])


def spectral_mask() -> Made:
    """A clip of fixed length."""
    torch.manual_seed(0)
    return SpectralMask(), (torch.randn(1, 320),), None


class CachedAttention(nn.Module):
    """One token at a time; keys and values are written into a cache at a runtime position."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.norm = nn.GroupNorm(4, width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, position: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(self.norm(x)).view(3, self.heads, 1, -1)
        place = position.view(1, 1, 1).expand(self.heads, 1, k.shape[-1])
        keys, values = keys.scatter(1, place, k), values.scatter(1, place, v)
        seen = torch.arange(keys.shape[1]) <= position
        scores = (q @ keys.transpose(1, 2)).masked_fill(~seen, -1e9)
        best, _ = scores.topk(3, dim=-1)
        mixed = torch.where(scores >= best[..., -1:], scores, -1e9).softmax(-1) @ values
        return x + self.out(mixed.reshape(1, -1)), keys, values


def cached_attention() -> Made:
    """Top-3 attention over 16 places."""
    torch.manual_seed(0)
    caches = (torch.randn(4, 16, 8), torch.randn(4, 16, 8))
    return CachedAttention(), (torch.randn(1, 32), torch.tensor([5]), *caches), None
