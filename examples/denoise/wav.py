"""Read and write 16 kHz mono wav files with the standard library."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 16_000


def read(path: Path) -> NDArray[np.float32]:
    """Return the samples of a 16-bit mono 16 kHz file, full scale 1."""
    with wave.open(str(path)) as file:
        found = (file.getframerate(), file.getnchannels(), file.getsampwidth())
        if found != (RATE, 1, 2):
            raise SystemExit(
                f"{path}: want 16000 Hz, 1 channel, 2 bytes a sample; found {found}\n"
                f"  fix: ffmpeg -i {path} -ar 16000 -ac 1 -c:a pcm_s16le out.wav"
            )
        data = file.readframes(file.getnframes())
    return np.asarray(np.frombuffer(data, "<i2") / 32768, np.float32)


def write(path: Path, samples: NDArray[np.float32]) -> None:
    """Write samples, clipped to full scale."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.clip(samples * 32768, -32768, 32767).round().astype("<i2").tobytes())
