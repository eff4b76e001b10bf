"""A streaming speech denoiser: 256 samples of 16 kHz sound in, 256 samples out, 32 ms behind.

    x, tail -> window -> DFT -> |X|^2 -> bands -> log -> Linear -> GRU -> GRU -> Linear -.
                          |                                                      band gains
                          '------------------------- X * gain <- one per bin <-----------'
                                                        |
                                 y <- overlap-add <- window <- inverse DFT

Framing, transform and overlap-add stand inside the graph, so a compiled artifact needs nothing
around it. The state is explicit: the previous hop, the half-finished output and two GRU states.

This file imports nothing of its folder: `model:streaming` (from here) and
`examples.denoise.model:streaming` (from the root of the repository) name the same factory.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 16_000
HOP = 256
WINDOW = 2 * HOP
BINS = HOP  # 0 .. 7969 Hz have gains; the bin at 8 kHz is dropped
FINE = 64  # bins below 2 kHz keep a gain of their own: they resolve the harmonics of a voice
COARSE = 32  # triangular bands above
BANDS = FINE + COARSE
HIDDEN = 128
POWER_FLOOR = 1e-7  # power of a bin at about -95 dBFS; below it the logarithm says nothing new

WEIGHTS = Path(__file__).parent / "weights.safetensors"


class Denoiser(nn.Module):
    """The step (`forward`) and the whole sequence at once (`sequence`), over the same weights."""

    window: Tensor
    pool: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(BANDS, HIDDEN)
        self.gru1 = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.gru2 = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.gains = nn.Linear(2 * HIDDEN, BANDS)
        triangles = _triangles()
        self.register_buffer("window", _sqrt_hann(), persistent=False)
        self.register_buffer("spread", triangles, persistent=False)
        pool = (triangles / triangles.sum(1, True)).T.contiguous()
        self.register_buffer("pool", pool, persistent=False)

    def forward(
        self, x: Tensor, tail: Tensor, ola: Tensor, h1: Tensor, h2: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Denoise one hop.

        Args:
            x: The new samples `[1, 256]`, full scale 1.
            tail: The samples before them `[1, 256]`.
            ola: The second half of the previous output frame `[1, 256]`.
            h1: State of the first GRU `[1, 1, 128]`.
            h2: State of the second GRU `[1, 1, 128]`.

        Returns:
            The denoised samples of the hop before `[1, 256]`, then every state after the step:
            the variable `tail_out` is what `tail` becomes, and so on.
        """
        frame = torch.cat([tail, x], dim=1)
        bins = torch.fft.rfft(frame * self.window)
        gain, h1_out, h2_out = self.bin_gains(power(bins).unsqueeze(1), h1, h2)
        clean = torch.fft.irfft(bins * gain.squeeze(1)) * self.window
        y = clean[:, :HOP] + ola
        tail_out, ola_out = frame[:, HOP:], clean[:, HOP:]
        return y, tail_out, ola_out, h1_out, h2_out

    def bin_gains(self, powers: Tensor, h1: Tensor, h2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map powers `[B, T, 257]` to gains of the same shape and the GRU states after them."""
        bands = torch.cat([powers[..., :FINE], powers[..., FINE:BINS] @ self.pool], dim=-1)
        features = (bands + POWER_FLOOR).log() * 0.2 + 1.0  # about zero mean, unit variance
        first, h1 = self.gru1(self.embed(features).tanh(), h1)
        second, h2 = self.gru2(first, h2)
        gains = self.gains(torch.cat([first, second], dim=-1)).sigmoid()
        spread = functional.pad(gains[..., FINE:] @ self.spread, (0, 1))
        return torch.cat([gains[..., :FINE], spread], dim=-1), h1, h2

    def sequence(self, wave: Tensor) -> Tensor:
        """Denoise whole waves `[B, N]`, N a multiple of 256: what N / 256 steps from rest give."""
        enhanced: Tensor = self.synthesis(self.enhance(self.analysis(wave)))
        return enhanced

    def analysis(self, wave: Tensor) -> Tensor:
        """Map waves `[B, N]` to complex bins `[B, N / 256, 257]`."""
        frames = functional.pad(wave, (HOP, 0)).unfold(-1, WINDOW, HOP)
        bins: Tensor = torch.fft.rfft(frames * self.window)
        return bins

    def enhance(self, bins: Tensor) -> Tensor:
        """Apply the gains to complex bins `[B, T, 257]`."""
        rest = bins.real.new_zeros(1, bins.shape[0], HIDDEN)
        gain, _, _ = self.bin_gains(power(bins), rest, rest)
        enhanced: Tensor = bins * gain
        return enhanced

    def synthesis(self, bins: Tensor) -> Tensor:
        """Map complex bins `[B, T, 257]` to waves `[B, 256 T]`, one hop behind the input."""
        frames = torch.fft.irfft(bins) * self.window
        head, ola = frames[..., :HOP], functional.pad(frames[..., HOP:], (0, 0, 1, 0))[:, :-1]
        return torch.flatten(head + ola, 1)


def power(bins: Tensor) -> Tensor:
    """Map complex bins to their power."""
    return bins.real.square() + bins.imag.square()


def initial_states() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return `tail`, `ola`, `h1` and `h2` of a stream that has heard nothing."""
    hop, hidden = torch.zeros(1, HOP), torch.zeros(1, 1, HIDDEN)
    return hop, hop.clone(), hidden, hidden.clone()


def load(weights: Path = WEIGHTS) -> Denoiser:
    """Return the trained model."""
    model = Denoiser()
    model.load_state_dict(load_file(weights))
    return model.eval()


def streaming() -> tuple[Denoiser, tuple[Tensor, ...]]:
    """Return the trained step and example inputs: what `edgeseq compile` asks of a factory."""
    generator = torch.Generator().manual_seed(0)
    x = 0.1 * torch.randn(1, HOP, generator=generator)
    return load(), (x, *initial_states())


def _sqrt_hann() -> Tensor:
    """Return the window whose square adds up to one at a hop of half its length."""
    return (math.pi * torch.arange(WINDOW, dtype=torch.float64) / WINDOW).sin().float()


def _triangles() -> Tensor:
    """Return `[COARSE, BINS - FINE]`: overlapping triangles, evenly spaced on the mel scale.

    Each column sums to one, so equal band gains give that gain to every bin.
    """
    hertz = SAMPLE_RATE / WINDOW
    mel = 2595 * torch.log10(1 + torch.arange(FINE, BINS, dtype=torch.float64) * hertz / 700)
    place = (mel - mel[0]) / (mel[-1] - mel[0]) * (COARSE - 1)
    centres = torch.arange(COARSE, dtype=torch.float64).unsqueeze(1)
    return (1 - (place - centres).abs()).clamp(min=0).float()
