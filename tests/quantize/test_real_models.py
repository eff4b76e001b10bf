"""Trained models of other people in int8: calibrated on some recordings, measured on others."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgeseq.frontends.load import load
from edgeseq.frontends.states import mark_states
from edgeseq.ir.settings import Settings
from edgeseq.pipeline import PASSES, prepare
from edgeseq.quantize import quantize
from edgeseq.quantize.calibrate import Runner

pytestmark = pytest.mark.slow

Array = npt.NDArray[Any]


def _beside(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audio = _beside("audio")


def prepared(
    file: Path, shapes: Mapping[str, tuple[int, ...]], consts: Mapping[str, int]
) -> ir.Model:
    model = load(str(file)).model
    mark_states(model)
    settings = Settings(shapes, {}, consts)
    prepare(model, settings, passes=PASSES[:1])
    mark_states(model)
    prepare(model, settings, passes=PASSES[1:])
    return model


def outputs(model: ir.Model, sample: dict[str, Array], name: str) -> Array:
    return np.stack(Runner(model)(sample)[name])


def si_sdr(got: Array, want: Array) -> float:
    a, b = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    target = (a @ b) / (b @ b) * b
    return float(10 * np.log10((target @ target) / ((a - target) @ (a - target))))


def test_silero_decides_the_same(models_dir: Path) -> None:
    file = models_dir / "silero-vad/silero_vad_op18_ifless.onnx"
    speech = models_dir / "silero-vad/test.wav"
    model = prepared(file, {"input": (1, 576)}, {"sr": 16000})
    held_out = audio.silero(audio.read(speech, 20, 40))
    want = outputs(model, held_out, "output")
    quantize(model, "int8", [audio.silero(audio.read(speech, 0, 20))])
    got = outputs(model, held_out, "output")
    assert np.abs(got - want).mean() <= 0.02
    assert ((got > 0.5) == (want > 0.5)).mean() >= 0.99


def test_gtcrn_stays_close(models_dir: Path) -> None:
    model = prepared(models_dir / "gtcrn/gtcrn_simple.onnx", {}, {})
    held_out = audio.gtcrn(audio.read(models_dir / "silero-vad/test.wav", 20, 30))
    want = outputs(model, held_out, "enh")
    quantize(model, "int8", [audio.gtcrn(audio.read(models_dir / "gtcrn/mix.wav"))])
    assert si_sdr(outputs(model, held_out, "enh"), want) >= 25


def test_what_dtln_lets_through_stays_close(models_dir: Path) -> None:
    model = prepared(models_dir / "DTLN/model_1.onnx", {}, {})
    speech = audio.read(models_dir / "silero-vad/test.wav", 20, 25)
    held_out = audio.dtln1(speech)
    want = audio.dtln2(speech, outputs(model, held_out, "activation_2"))["input_4"]
    quantize(model, "int8", [audio.dtln1(audio.read(models_dir / "gtcrn/mix.wav"))])
    got = audio.dtln2(speech, outputs(model, held_out, "activation_2"))["input_4"]
    assert si_sdr(got, want) >= 25
