"""Recording works on the real models as their authors exported them, and gives tight tolerances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edgeseq import pipeline, validate
from edgeseq.frontends.load import load
from edgeseq.frontends.states import mark_states
from edgeseq.ir.settings import Settings

SILERO: dict[str, Any] = {"shapes": {"input": (1, 576)}, "constants": {"sr": 16000}}
SETTINGS: dict[str, Settings] = {
    "gtcrn/gtcrn_simple.onnx": Settings(),
    "DTLN/model_1.onnx": Settings(),
    "DTLN/model_2.onnx": Settings(),
    "silero-vad/silero_vad_16k_op15.onnx": Settings(**SILERO),
    "silero-vad/silero_vad_op18_ifless.onnx": Settings(**SILERO),
    "mamba-kws/converted_scan.onnx": Settings(),
    "mamba-kws/converted_step.onnx": Settings(),
    "rwkv5/converted_rwkv5_step.onnx": Settings(),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_record(name: str, models_dir: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    model = load(models_dir / name).model
    mark_states(model)
    pipeline.prepare(model, SETTINGS[name], passes=pipeline.PASSES[:1])
    mark_states(model)
    section = validate.record(model, tmp_path, steps=10)
    assert (section["oracle"], section["reference"]) == (
        "interpreter float64",
        "onnxruntime float32",
    )
    for limits in [*section["outputs"].values(), *section["states"].values()]:
        assert limits["range"] > 0
        assert limits["e_ref"] <= 1e-5 * limits["range"]
