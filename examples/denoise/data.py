"""Mixtures of speech and noise in random rooms, made on the fly; deterministic by seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noises import Family
from speech import SAMPLE_RATE, Corpus

Wave = NDArray[np.float32]
ROOM = 6400  # samples of room response: 0.4 s
UNIT = 1024  # a noise of power one as int16: peaks of 32 are kept


@dataclasses.dataclass(frozen=True)
class Batch:
    """Waves `[B, N]` at the same place in time: `noisy` is `clean` plus noise."""

    noisy: Tensor
    clean: Tensor


@dataclasses.dataclass(frozen=True)
class Mixer:
    """Draws batches.

    Attributes:
        speech: The voices.
        noise: Noise clips `[clips, samples]`, each with a mean power of one.
        length: Samples of a mixture.
        snr: Range of the signal-to-noise ratio in dB, over the parts with speech.
        special: Share of mixtures without speech, and again of mixtures almost without noise.
        level: Range of the level of the mixture in dB below full scale.
    """

    speech: Corpus
    noise: NDArray[np.int16]
    length: int
    snr: tuple[float, float] = (-5, 25)
    special: float = 0.08
    level: tuple[float, float] = (-38, -10)

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Return `size` mixtures."""
        voices = torch.from_numpy(np.stack([self._voice(rng) for _ in range(size)]))
        noises = torch.from_numpy(np.stack([self._noise(rng) for _ in range(size)]))
        rooms = torch.from_numpy(np.stack([_room(rng) for _ in range(size)]))
        clean = _filter(voices, rooms, _equaliser(rng, size, self.length))
        noise = _filter(noises, rooms[:, :1], _equaliser(rng, size, self.length))
        return self._mix(clean, noise, rng)

    def _mix(self, clean: Tensor, noise: Tensor, rng: np.random.Generator) -> Batch:
        size = len(clean)
        snr = rng.uniform(*self.snr, size)
        kind = rng.random(size)
        snr = np.where(kind > 1 - self.special, 50.0, snr)
        clean = clean * _column(kind > self.special)
        wanted = active_power(clean) / _column(10 ** (snr / 10))
        present = noise.square().mean(1, keepdim=True) + 1e-9
        wanted = torch.where(wanted > 1e-9, wanted, present)
        noisy = clean + noise * (wanted / present).sqrt()
        level = _column(10 ** (rng.uniform(*self.level, size) / 20))
        gain = level / (noisy.square().mean(1, keepdim=True).sqrt() + 1e-6)
        gain = torch.minimum(gain, 0.99 / (noisy.abs().amax(1, keepdim=True) + 1e-6))
        return Batch(noisy * gain, clean * gain)

    def _voice(self, rng: np.random.Generator) -> Wave:
        """Return sentences with pauses between them; the first may be cut at its beginning."""
        line = np.zeros(self.length, np.float32)
        place = -int(rng.integers(0, SAMPLE_RATE)) if rng.random() < 0.5 else _pause(rng)
        while place < self.length:
            clip = self.speech.clip(int(rng.integers(len(self.speech))))
            clip = clip[max(0, -place) :][: self.length - max(0, place)]
            place = max(0, place)
            line[place : place + len(clip)] = clip
            place += len(clip) + _pause(rng)
        return line

    def _noise(self, rng: np.random.Generator) -> Wave:
        """Return a stretch of noise, often with a second one softly under it."""
        loud, soft = self._stretch(rng), self._stretch(rng)
        share = rng.uniform(0, 0.7) if rng.random() < 0.4 else 0.0
        return np.asarray(loud + share * soft, np.float32)

    def _stretch(self, rng: np.random.Generator) -> Wave:
        clip = self.noise[int(rng.integers(len(self.noise)))]
        start = int(rng.integers(0, len(clip) - self.length + 1))
        return np.asarray(clip[start : start + self.length] / UNIT, np.float32)


def noise_bank(
    families: Mapping[str, Family], clips: int, length: int, voices: Corpus, seed: int
) -> dict[str, NDArray[np.int16]]:
    """Return `clips` clips of each family and of babble, as integers."""
    rng = np.random.default_rng(seed)
    made = {name: [make(rng, length) for _ in range(clips)] for name, make in families.items()}
    made["babble"] = [babble(voices, rng, length) for _ in range(clips)]
    return {name: _pack(np.stack(waves)) for name, waves in made.items()}


def babble(voices: Corpus, rng: np.random.Generator, n: int) -> Wave:
    """Return several people talking at once, none of them near."""
    total = np.zeros(n, np.float32)
    for _ in range(int(rng.integers(4, 12))):
        place = -int(rng.integers(0, SAMPLE_RATE))
        loudness = np.float32(rng.uniform(0.3, 1))
        while place < n:
            clip = voices.clip(int(rng.integers(len(voices))))[max(0, -place) :]
            place = max(0, place)
            part = clip[: n - place]
            total[place : place + len(part)] += loudness * part
            place += len(clip)
    return np.asarray(total / np.sqrt(np.mean(total**2) + 1e-9), np.float32)


def active_power(wave: Tensor) -> Tensor:
    """Return the mean power `[B, 1]` over the 16 ms blocks within 30 dB of the loudest."""
    blocks = wave[:, : wave.shape[1] // 256 * 256].reshape(len(wave), -1, 256).square().mean(-1)
    active = (blocks > blocks.amax(1, keepdim=True) * 1e-3).float()
    power: Tensor = (blocks * active).sum(1, keepdim=True) / active.sum(1, keepdim=True).clamp(
        min=1
    )
    return power


def si_snr(estimate: Tensor, target: Tensor) -> Tensor:
    """Return the scale-invariant signal-to-noise ratio of each wave in dB."""
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    energy = target.square().sum(-1, keepdim=True) + 1e-8
    part = (estimate * target).sum(-1, keepdim=True) / energy * target
    rest = (estimate - part).square().sum(-1) + 1e-8
    return 10 * torch.log10((part.square().sum(-1) + 1e-8) / rest)


def _pack(waves: Wave) -> NDArray[np.int16]:
    return np.clip(waves * UNIT, -32767, 32767).astype(np.int16)


def _pause(rng: np.random.Generator) -> int:
    return int(SAMPLE_RATE * rng.uniform(0.1, 0.9))


def _column(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).unsqueeze(1)


def _room(rng: np.random.Generator) -> Wave:
    """Return a synthetic room: the direct sound, then noise that dies away exponentially."""
    ticks = np.arange(ROOM) / SAMPLE_RATE
    tail = rng.normal(0, 1, ROOM) * np.exp(-6.9 * ticks / rng.uniform(0.08, 0.5))
    tail[: int(rng.uniform(0.001, 0.01) * SAMPLE_RATE)] = 0
    wet = rng.uniform(0.1, 1.0) if rng.random() < 0.5 else 0.0
    tail *= wet / (np.sqrt(np.sum(tail**2)) + 1e-9)
    tail[0] = 1
    return tail.astype(np.float32)


def _equaliser(rng: np.random.Generator, count: int, length: int) -> Tensor:
    """Return random smooth responses of microphones and lines `[count, bins]`."""
    size = _transform_size(length)
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    knots = np.geomspace(50, 8000, 7)
    curves = []
    for _ in range(count):
        decibels = np.interp(hertz, knots, rng.normal(0, 4, 7))
        low_cut = rng.uniform(20, 200)
        curves.append(10 ** (decibels / 20) * hertz / (hertz + low_cut))
    return torch.from_numpy(np.stack(curves).astype(np.float32))


def _filter(waves: Tensor, rooms: Tensor, equaliser: Tensor) -> Tensor:
    size = _transform_size(waves.shape[1])
    spectrum = torch.fft.rfft(waves, size) * torch.fft.rfft(rooms, size) * equaliser
    filtered: Tensor = torch.fft.irfft(spectrum, size)
    return filtered[:, : waves.shape[1]]


def _transform_size(length: int) -> int:
    """Return a length that leaves room for the room's tail and transforms fast."""
    return 1024 * math.ceil((length + ROOM) / 1024)
