"""Wav files of the tests."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

import edgeseq
from tests.examples.commands import ROOT

NOISY = ROOT / "examples/denoise/demo-noisy.wav"
FRAME = 256
Samples = npt.NDArray[np.float32]


def read(file: Path) -> Samples:
    """Samples of a mono file of 16 bits, in units of its last bit."""
    with wave.open(str(file)) as opened:
        assert (opened.getframerate(), opened.getnchannels(), opened.getsampwidth()) == (
            16000,
            1,
            2,
        )
        data = opened.readframes(opened.getnframes())
    return np.asarray(np.frombuffer(data, "<i2"), np.float32)


def denoised(dist: Path, target: str, samples: Samples) -> Samples:
    """What the library makes of whole frames, a frame late, in the same units."""
    whole = samples[: len(samples) // FRAME * FRAME].reshape(-1, 1, FRAME)
    result = edgeseq.load(dist, target).run(whole / 32768)
    return np.asarray(result, np.float32).reshape(-1) * 32768
