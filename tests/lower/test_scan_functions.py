"""Recurrences that ONNX has no operator for: compiled from torch, step by step where causal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgeseq
from edgeseq import api, validate
from edgeseq.options import CompileOptions
from tests.zoo import models, recurrent

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")


def build(made: models.Made, folder: Path) -> edgeseq.Artifact:
    module, inputs, dynamic = made
    built = edgeseq.compile(module, inputs, dynamic=dynamic, targets=("c",), output=folder / "d")
    verdict = validate.check(built.folder, "c")
    assert verdict.ok, validate.to_text(verdict)
    return built


@pytest.mark.parametrize("variant", [v for v in recurrent.sweep() if v.projection], ids=str)
def test_an_lstm_with_projection(variant: recurrent.Variant, tmp_path: Path) -> None:
    built = build(recurrent.layer(variant), tmp_path)
    assert built.manifest["modes"]["step"]["supported"] is not variant.bidirectional
    recurrences = variant.layers * (1 + variant.bidirectional)
    products = [k for k in built.manifest["kernels"] if k["name"] == "gemm_f32"]
    assert len(products) == 3 * recurrences  # of the input, the state, and the projection


def test_a_cell_looped_by_torch(tmp_path: Path) -> None:
    built = build(models.scan_recurrence(), tmp_path)
    assert built.manifest["modes"]["step"]["supported"]


@pytest.mark.slow
def test_a_state_space_model(models_dir: Path, tmp_path: Path) -> None:
    folder = models_dir / "mamba-kws"
    options = CompileOptions(tmp_path / "d", api.host_targets())
    built = api.compile_model(folder / "converted_scan.onnx", options)
    golden = np.load(folder / "golden.npz")
    for target in api.host_targets():
        logits = built.load(target).run(golden["feats"])
        assert np.abs(logits - golden["logits"]).max() < 1e-4
