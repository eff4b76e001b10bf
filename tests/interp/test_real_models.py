"""The real models, as their authors exported them, against ONNX Runtime without optimisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from edgeseq.interp import Interpreter

Arrays = dict[str, np.ndarray[Any, Any]]


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _random(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(scale=0.3, size=shape).astype(np.float32)


def _cases() -> dict[str, tuple[Arrays, dict[str, str]]]:
    """Inputs of one step, and which output each carried input takes."""
    gtcrn: Arrays = {
        "mix": _random(1, 257, 1, 2),
        "conv_cache": _random(2, 1, 16, 16, 33),
        "tra_cache": _random(2, 3, 1, 1, 16),
        "inter_cache": _random(2, 1, 33, 16),
    }
    caches = {n: f"{n}_out" for n in ("conv_cache", "tra_cache", "inter_cache")}
    silero: Arrays = {
        "input": _random(1, 576),
        "state": _random(2, 1, 128),
        "sr": np.array(16000, np.int64),
    }
    mamba: Arrays = {
        "frame": _random(1, 40),
        "conv_state": _random(1, 128, 3),
        "ssm_state": _random(1, 128, 16),
        "y_sum": _random(1, 64),
        "count": np.ones(1, np.float32),
    }
    rwkv: Arrays = {
        "token": np.array([17], np.int64),
        "att_x": _random(12, 64),
        "ffn_x": _random(12, 64),
        "S": _random(12, 8, 8, 8),
    }
    state = {"state": "stateN"}
    return {
        "gtcrn/gtcrn.onnx": (gtcrn, caches),
        "gtcrn/gtcrn_simple.onnx": (gtcrn, caches),
        "DTLN/model_1.onnx": (
            {"input_2": np.abs(_random(1, 1, 257)), "input_3": _random(1, 2, 128, 2)},
            {"input_3": "tf_op_layer_stack_2"},
        ),
        "DTLN/model_2.onnx": (
            {"input_4": _random(1, 1, 512), "input_5": _random(1, 2, 128, 2)},
            {"input_5": "tf_op_layer_stack_5"},
        ),
        "silero-vad/silero_vad.onnx": (silero, state),
        "silero-vad/silero_vad_16k_op15.onnx": (silero, state),
        "silero-vad/silero_vad_op18_ifless.onnx": (silero, state),
        "mamba-kws/converted_scan.onnx": ({"feats": _random(1, 12, 40)}, {}),
        "mamba-kws/converted_step.onnx": (
            mamba,
            {n: f"{n}_out" for n in ("conv_state", "ssm_state", "y_sum", "count")},
        ),
        "rwkv5/converted_rwkv5_step.onnx": (
            rwkv,
            {n: f"{n}_out" for n in ("att_x", "ffn_x", "S")},
        ),
    }


@pytest.mark.parametrize("name", _cases())
def test_real_model(name: str, models_dir: Path) -> None:
    torch.set_num_threads(1)
    inputs, carried = _cases()[name]
    session = _session(models_dir / name)
    interpreter = Interpreter(ir.load(models_dir / name))
    for _ in range(3):
        names = [o.name for o in session.get_outputs()]
        want = dict(zip(names, session.run(None, inputs), strict=True))
        got = {n: v.numpy() for n, v in interpreter(inputs).items()}
        for key, expected in want.items():
            scale = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(got[key], expected, rtol=0, atol=2e-5 * scale)
        inputs = inputs | {i: want[o] for i, o in carried.items()}
