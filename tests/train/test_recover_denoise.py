"""A few steps on five seconds of sound bring a trained model back: what recovery must not lose."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeseq import pipeline
from edgeseq.frontends.load import load
from edgeseq.frontends.states import mark_states
from edgeseq.ir.patterns import Pattern
from edgeseq.train import prunable
from edgeseq.train.recover import Settings, recover
from edgeseq.train.targets import Gradual, Part
from tests.train import mixtures
from tests.train.test_recover_real import HOP, denoise, read


@pytest.mark.slow
def test_a_pruned_denoiser_learns_in_sixty_steps() -> None:
    model = load(f"{mixtures.EXAMPLE / 'model.py'}:streaming").model
    mark_states(model)
    pipeline.prepare(model)
    sound = read(mixtures.EXAMPLE / "demo-noisy.wav")
    frames = sound[: len(sound) // HOP * HOP].reshape(-1, 1, HOP)
    known = len(frames) * 2 // 3
    samples = [{"x": frames[i : i + 96]} for i in range(0, known - 96, 24)]
    matrices = [m for m in prunable.find(model) if m.kind in ("input", "recurrent")]
    kind = Pattern.parse("16x1")
    target = Gradual([Part(str(m.weight.name), m.index, kind, 0.2, m.taps) for m in matrices])
    settings = Settings(streams=8, rounds=6)
    dense = denoise(model, torch.from_numpy(frames.reshape(1, -1)))[:, known * HOP :]
    errors = []
    for steps in (0, 60):
        done = recover(model, target, samples, steps, settings=settings)
        made = denoise(done.model, torch.from_numpy(frames.reshape(1, -1)))[:, known * HOP :]
        errors.append(float((made - dense).square().sum() / dense.square().sum()))
    pruned, recovered = 10 * np.log10(errors)
    assert pruned > -6
    assert recovered < -12  # dB, on sound that was not learnt from; one core takes half a minute
