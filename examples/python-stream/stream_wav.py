"""Stream a wav file through a compiled model as a sound card would deliver it.

`python stream_wav.py IN.wav OUT.wav --artifact dist` reads blocks of 480 samples (30 ms), cuts them
into the frames that the model takes, and prints the level before and after as it goes. Needs
`edgeseq` and numpy; works for any model that maps a frame of samples to a frame.
"""

from __future__ import annotations

import argparse
import math
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edgeseq

Samples = NDArray[np.float32]


class Filter:
    """One stream: takes blocks of any length, gives what whole frames of them become.

    Args:
        model: As `edgeseq.load` returns it; one serves any number of streams.
    """

    def __init__(self, model: edgeseq.Model) -> None:
        (tensor,) = model.inputs
        self.shape = tensor.at(1)
        self.frame = math.prod(self.shape)
        self._stream = model.stream()
        self._waiting = np.zeros(0, np.float32)

    def push(self, block: Samples) -> Samples:
        """Take samples; return as many as are ready."""
        samples = np.concatenate([self._waiting, block])
        whole = len(samples) - len(samples) % self.frame
        self._waiting = samples[whole:]
        frames = samples[:whole].reshape(-1, *self.shape)
        done = [np.reshape(self._stream.step(frame), -1) for frame in frames]
        return np.concatenate([samples[:0], *done])


def blocks(file: wave.Wave_read, size: int) -> Iterator[Samples]:
    """Read 16-bit samples as full scale 1."""
    while data := file.readframes(size):
        yield np.asarray(np.frombuffer(data, "<i2") / 32768, np.float32)


def pcm(samples: Samples) -> bytes:
    """Return 16-bit samples, clipped to full scale."""
    return np.clip(samples * 32768, -32768, 32767).round().astype("<i2").tobytes()


def decibels(samples: Samples) -> float:
    """Return the level, full scale 0."""
    return 10 * math.log10(float(np.mean(np.square(samples))) + 1e-12)


def convert(model: edgeseq.Model, source: Path, target: Path, size: int) -> Iterator[str]:
    """Stream a file; a line about every half second of it."""
    with wave.open(str(source)) as before, wave.open(str(target), "wb") as after:
        found = (before.getnchannels(), before.getsampwidth())
        if found != (1, 2):
            raise SystemExit(f"{source}: want 1 channel of 2 bytes a sample; found {found}")
        after.setparams(before.getparams())
        stream, heard, said = Filter(model), [], []
        for number, block in enumerate(blocks(before, size), 1):
            ready = stream.push(block)
            after.writeframes(pcm(ready))
            heard.append(block)
            said.append(ready)
            if sum(map(len, heard)) >= before.getframerate() / 2:
                levels = [decibels(np.concatenate(part)) for part in (heard, said)]
                seconds = number * size / before.getframerate()
                yield f"{seconds:5.1f} s  {levels[0]:6.1f} dB  ->  {levels[1]:6.1f} dB"
                heard, said = [], []


def main() -> None:
    """Read the arguments and stream."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--artifact", type=Path, default=Path("dist"), help="the compiled model")
    parser.add_argument("--block", type=int, default=480, help="samples that arrive at once")
    arguments = parser.parse_args()
    model = edgeseq.load(arguments.artifact)
    for line in convert(model, arguments.input, arguments.output, arguments.block):
        print(line)


if __name__ == "__main__":
    main()
