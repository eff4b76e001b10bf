"""Noisy speech as the denoiser's example makes it, and what its metric says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "denoise"


@contextmanager
def _example() -> Iterator[None]:
    """The files of the example import each other from their own folder."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield
    finally:
        sys.path.remove(str(EXAMPLE))


def make(held_out: bool, count: int, seconds: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `count` noisy mixtures `[count, samples]` and the clean voices in them.

    Voices, languages, noises and SNRs of the two kinds are those of the example's training and of
    its evaluation.
    """
    with _example():
        import data
        import noises
        import speech
    voices = speech.corpus("held-out" if held_out else "train", 240 if held_out else 600, seed)
    length = seconds * 16_000 // 256 * 256
    families = {**noises.HELD_OUT, **noises.TRAIN} if held_out else noises.TRAIN
    bank = data.noise_bank(families, 12, 2 * length, voices, seed + 1)
    noise = np.concatenate(list(bank.values()))
    kind = {"snr": (-5, 20), "special": 0.0} if held_out else {}
    mixer = data.Mixer(voices, noise, length, **kind)
    random = np.random.default_rng(seed + 2)
    batches = [mixer.batch(16, random) for _ in range(count // 16)]
    return torch.cat([b.noisy for b in batches]), torch.cat([b.clean for b in batches])


def si_snr(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the scale-invariant signal-to-noise ratio of each row in dB."""
    part = (estimate * target).sum(-1, keepdim=True) * target
    part = part / (target.square().sum(-1, keepdim=True) + 1e-9)
    rest = (estimate - part).square().sum(-1)
    return 10 * torch.log10(part.square().sum(-1) / (rest + 1e-12))
