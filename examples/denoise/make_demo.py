"""Make `demo-noisy.wav` and `demo-clean.wav`: held-out voices on a train that is new too."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import noises
import wav
from data import Mixer, noise_bank
from model import HOP, SAMPLE_RATE
from speech import corpus

HERE = Path(__file__).parent
LENGTH = 5 * SAMPLE_RATE // HOP * HOP


def main() -> None:
    """Mix at 3 dB and write both files."""
    voices = corpus("held-out", 240, seed=1001, cache=HERE / "build")
    bank = noise_bank({"train_ride": noises.train_ride}, 4, 2 * LENGTH, voices, seed=2002)
    mixer = Mixer(voices, bank["train_ride"], LENGTH, snr=(3, 3), special=0, level=(-20, -20))
    batch = mixer.batch(1, np.random.default_rng(2017))
    wav.write(HERE / "demo-noisy.wav", batch.noisy[0].numpy())
    wav.write(HERE / "demo-clean.wav", batch.clean[0].numpy())


if __name__ == "__main__":
    main()
