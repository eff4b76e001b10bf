"""Inputs of the real audio models, made from recordings as their authors do."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
RATE = 16_000


def read(file: Path, start: float = 0.0, end: float | None = None) -> Array:
    """Seconds of a 16 kHz recording, full scale 1."""
    with wave.open(str(file)) as audio:
        assert (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) == (RATE, 1, 2)
        whole = np.frombuffer(audio.readframes(audio.getnframes()), "<i2").astype(np.float32)
    return whole[int(start * RATE) : None if end is None else int(end * RATE)] / 32768


def frames(audio: Array, size: int, hop: int) -> Array:
    starts = np.arange(0, len(audio) - size + 1, hop)
    return np.stack([audio[s : s + size] for s in starts])


def gtcrn(audio: Array) -> dict[str, Array]:
    """Spectra of 512 points, hop 256, square root of a Hann window."""
    window = np.sqrt(np.hanning(513)[:512]).astype(np.float32)
    spectra = np.fft.rfft(frames(audio, 512, 256) * window)
    both = np.stack([spectra.real, spectra.imag], -1).astype(np.float32)
    return {"mix": both[:, None, :, None, :]}


def dtln1(audio: Array) -> dict[str, Array]:
    """Magnitudes of 512 points, hop 128, no window."""
    size = np.abs(np.fft.rfft(frames(audio, 512, 128))).astype(np.float32)
    return {"input_2": size[:, None, None]}


def dtln2(audio: Array, mask: Array) -> dict[str, Array]:
    """The first half's estimate: masked spectra, back in time."""
    spectra = np.fft.rfft(frames(audio, 512, 128)) * mask.reshape(-1, 257)
    return {"input_4": np.fft.irfft(spectra).astype(np.float32)[:, None, None]}


def silero(audio: Array) -> dict[str, Array]:
    """Frames of 512 samples, each after the last 64 of the one before."""
    padded = np.concatenate([np.zeros(64, np.float32), audio])
    return {"input": frames(padded, 576, 512)[:, None]}


def noisy(speech: Array, snr: float, seed: int) -> Array:
    """Speech with noise whose spectrum falls by 3 dB an octave, louder and softer by turns."""
    random = np.random.default_rng(seed)
    spectrum = np.fft.rfft(random.standard_normal(len(speech)))
    noise = np.fft.irfft(spectrum / np.sqrt(1 + np.arange(len(spectrum))), len(speech))
    noise *= 1 + 0.5 * np.sin(np.arange(len(speech)) * (2 * np.pi / (3 * RATE)))
    gain = np.sqrt(np.square(speech).mean() / np.square(noise).mean()) * 10 ** (-snr / 20)
    return np.asarray(speech + gain * noise, np.float32)


def joined(blocks: Array, hop: int) -> Array:
    """Add up frames that overlap."""
    rows = blocks.reshape(len(blocks), -1)
    whole = np.zeros((len(rows) - 1) * hop + rows.shape[1], np.float32)
    for i, row in enumerate(rows):
        whole[i * hop : i * hop + len(row)] += row
    return whole
