"""A classical denoiser to compare with: Wiener gains over a tracked noise spectrum.

Decision-directed a-priori SNR (Ephraim and Malah 1984); the noise power follows a smoothed
periodogram weighted with the probability that no speech is there (Gerkmann and Hendriks 2012).
Same window, hop and delay as the model.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 0.1  # gains end at -20 dB, which keeps musical noise down
PRIOR = 10**1.5  # the SNR speech is assumed to have where it is present


def wiener(bins: Tensor) -> Tensor:
    """Denoise complex bins `[B, T, F]`, causally."""
    power = bins.real.square() + bins.imag.square() + 1e-9
    noise = power[:, :8].mean(1)  # the first 0.13 s are taken for noise
    speech = torch.zeros_like(noise)
    likely = torch.full_like(noise, 0.5)
    gains = []
    for now in power.unbind(1):
        present = 1 / (1 + (1 + PRIOR) * (-(now / noise) * PRIOR / (1 + PRIOR)).exp())
        likely = 0.9 * likely + 0.1 * present
        present = torch.where(likely > 0.99, present.clamp(max=0.99), present)
        noise = 0.8 * noise + 0.2 * (present * noise + (1 - present) * now)
        snr = 0.98 * speech / noise + 0.02 * (now / noise - 1).clamp(min=0)
        gain = (snr / (1 + snr)).clamp(min=FLOOR)
        speech = gain.square() * now
        gains.append(gain)
    return bins * torch.stack(gains, 1)
