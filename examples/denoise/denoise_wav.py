"""Denoise a wav file with the compiled model: `python denoise_wav.py IN.wav OUT.wav`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import edgeseq
import numpy as np
from numpy.typing import NDArray

import wav

HOP = 256


def denoise(artifact: Path, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stream samples hop by hop; the result is as long as the input and in step with it."""
    # The output lags one hop, so one more hop of silence fetches the end.
    hops = -(-len(samples) // HOP) + 1
    padded = np.zeros((hops, 1, HOP), np.float32)
    padded.reshape(-1)[: len(samples)] = samples
    stream = edgeseq.load(artifact).stream()
    enhanced = np.concatenate([np.array(stream.step(hop)) for hop in padded], axis=1)
    return enhanced[0, HOP : HOP + len(samples)]


def main() -> None:
    """Read the arguments and denoise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--artifact", type=Path, default=Path("dist"), help="the compiled model")
    arguments = parser.parse_args()
    samples = wav.read(arguments.input)
    start = time.perf_counter()
    enhanced = denoise(arguments.artifact, samples)
    seconds = time.perf_counter() - start
    wav.write(arguments.output, enhanced)
    long = len(samples) / wav.RATE
    print(f"{arguments.output}: {long:.1f} s of sound in {seconds:.3f} s ({long / seconds:.0f}x)")


if __name__ == "__main__":
    main()
