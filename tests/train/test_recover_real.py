"""What recovery must reach on trained models, with generated speech and without labels."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edgeseq import pipeline
from edgeseq.frontends.load import load
from edgeseq.frontends.states import mark_states
from edgeseq.ir.patterns import Pattern
from edgeseq.train import prunable
from edgeseq.train.prunable import Matrix
from edgeseq.train.recover import recover
from edgeseq.train.targets import Gradual, Part
from edgeseq.train.unroll import Unrolled
from tests.train import dtln, mixtures

pytestmark = [
    pytest.mark.measure,
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng"),
]

HOP = 256
STEPS = 1200  # ten minutes on two idle cores


def target(matrices: list[Matrix], pattern: str, density: float) -> Gradual:
    kind = Pattern.parse(pattern)
    return Gradual(
        [Part(str(m.weight.name), m.index, kind, density, m.taps) for m in matrices],
    )


def denoise(model: ir.Model, noisy: torch.Tensor) -> torch.Tensor:
    frames = noisy.reshape(len(noisy), -1, 1, HOP).transpose(0, 1)
    with torch.no_grad():
        made, _ = Unrolled(model).run({"x": frames})
    return made["y"].transpose(0, 1).reshape(len(noisy), -1)


@pytest.mark.parametrize(
    ("pattern", "density", "most"),
    [("16x1", 0.2, 0.3), ("16x1", 0.1, 0.6), ("2:4", 0.5, 0.2), ("1:4", 0.25, 0.4)],
)
def test_denoiser(pattern: str, density: float, most: float) -> None:
    model = load(f"{mixtures.EXAMPLE / 'model.py'}:streaming").model
    mark_states(model)
    pipeline.prepare(model)
    matrices = [m for m in prunable.find(model) if m.kind in ("input", "recurrent")]
    noisy, _ = mixtures.make(False, 512, 4, 1)
    samples = [{"x": row.reshape(-1, 1, HOP).numpy()} for row in noisy]
    done = recover(model, target(matrices, pattern, density), samples, STEPS)
    kept = sum(int(done.masks[n].sum()) for n in done.masks)
    assert kept <= density * sum(m.size for m in done.masks.values()) * 1.001
    noisy, clean = mixtures.make(True, 128, 6, 1001)
    dense, sparse = (
        mixtures.si_snr(denoise(m, noisy)[:, HOP:], clean[:, :-HOP]) for m in (model, done.model)
    )
    assert float((dense - sparse).mean()) <= most


def enhance(model: ir.Model, audio: np.ndarray) -> torch.Tensor:
    frames = torch.from_numpy(dtln.frames(audio)["x"]).unsqueeze(1)
    with torch.no_grad():
        made, _ = Unrolled(model).run({"x": frames})
    return made["y"].reshape(1, -1)


def read(file: Path) -> np.ndarray:
    with wave.open(str(file)) as opened:
        raw = np.frombuffer(opened.readframes(opened.getnframes()), "<i2")
    return raw.astype(np.float32) / 32768


def test_dtln(models_dir: Path) -> None:
    model = dtln.build(models_dir / "DTLN")
    matrices = [
        m for m in prunable.find(model) if m.kind in ("input", "recurrent") or "dense" in m.name
    ]
    assert len(matrices) == 34
    noisy, _ = mixtures.make(False, 512, 4, 1)
    samples = [dtln.frames(row.numpy()) for row in noisy]
    done = recover(model, target(matrices, "16x1", 0.2), samples, STEPS)
    for file in (models_dir / "gtcrn/mix.wav", models_dir / "silero-vad/test.wav"):
        audio = read(file)
        near = mixtures.si_snr(enhance(done.model, audio), enhance(model, audio))
        assert float(near) >= 15, file.name
