"""int8 layers give the same bits on every instruction set and in every engine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from edgeseq import engines
from edgeseq.errors import ToolchainError
from edgeseq.train import calibration
from tests.e2e import equality, models
from tests.e2e.test_targets import MODELS

pytestmark = pytest.mark.slow


def found(spec: Any, folder: Path, frames: int, **options: Any) -> dict[str, str]:
    torch.set_num_threads(1)
    whole = equality.quantized(spec, folder, **options)
    (sample,) = calibration.synthetic(whole, count=1, steps=frames)
    return dict(equality.hashes(whole, sample, folder))


def check(hashes: dict[str, str]) -> None:
    assert {"onnxruntime", *map(str, equality.places())} == set(hashes)
    lacking = [place for place, digest in hashes.items() if not digest]
    assert all(place.startswith("x86-64 ") for place in lacking), lacking
    assert len({digest for digest in hashes.values() if digest}) == 1, hashes


def test_a_tiny_model(tmp_path: Path) -> None:
    check(found(models.build(models.STEP), tmp_path, 100))


# A GRU and convolutions, an LSTM and an `If`: what the others have is in these, too.
SOME = [file for file in MODELS if file.startswith(("gtcrn", "silero"))]


@pytest.mark.parametrize("file", SOME, ids=lambda file: Path(file).stem)
def test_real_models(file: str, models_dir: Path, tmp_path: Path) -> None:
    """As `python -m tests.e2e.equality`, over fewer frames: QEMU takes its time."""
    check(found(models_dir / file, tmp_path, 100, **MODELS[file]))


def test_other_frames_have_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = [equality.Place("c", None, engines.NATIVE)]
    monkeypatch.setattr(equality, "places", lambda: here)
    model = models.build(models.STEP)
    first, second = (found(model, tmp_path / str(n), n) for n in (20, 21))
    assert first["c native"] == first["onnxruntime"] != second["onnxruntime"]


def test_a_missing_engine_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = [place for place in equality.places() if place.engine == "node"]
    monkeypatch.setattr(equality, "places", lambda: here)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ToolchainError, match="node is not installed"):
        found(models.build(models.STEP), tmp_path, 20)
