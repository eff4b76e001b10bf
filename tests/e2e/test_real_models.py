"""Trained models of other people: compiled, validated, and held against recorded outputs.

The goldens come with the models: what their own runtimes gave, states carried over every frame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import edgeseq
from edgeseq import api, validate
from edgeseq.options import CompileOptions
from edgeseq.runtime import Stream, host_target

pytestmark = pytest.mark.slow

Array = npt.NDArray[Any]
Compared = Mapping[str, tuple[Array, Array]]  # name -> (compiled, golden)

ERROR = 1e-4
SNR = 90.0  # dB, of every output that is a signal
SIGNALS = ("enh", "mask", "dec")


def gtcrn(stream: Stream, golden: Mapping[str, Array]) -> Compared:
    """Spectra [1, 257, 1, 2] frame by frame; three caches."""
    steps = golden["mix"].shape[2]
    frames = [stream.step(golden["mix"][:, :, t : t + 1]) for t in range(steps)]
    caches = ("conv_cache", "tra_cache", "inter_cache")
    compared = {name: (stream.state(name), golden[f"{name}_final"]) for name in caches}
    return {"enh": (np.concatenate(frames, 2), golden["enh"]), **compared}


def dtln(given: str, wanted: str) -> Callable[[Stream, Mapping[str, Array]], Compared]:
    """One half of the model; its state starts at zero."""

    def play(stream: Stream, golden: Mapping[str, Array]) -> Compared:
        frames = [stream.step(frame[None]) for frame in golden[given]]
        return {wanted: (np.concatenate(frames), golden[wanted])}

    return play


def silero(wanted: str) -> Callable[[Stream, Mapping[str, Array]], Compared]:
    """Frames of 512 samples, each after the last 64 of the one before."""

    def play(stream: Stream, golden: Mapping[str, Array]) -> Compared:
        audio = np.concatenate([np.zeros(64, np.float32), golden["audio"]])
        starts = range(0, len(golden["audio"]), 512)
        probabilities = [stream.step(audio[None, t : t + 576]) for t in starts]
        return {wanted: (np.concatenate(probabilities)[:, 0], golden[wanted])}

    return play


def rwkv(stream: Stream, golden: Mapping[str, Array]) -> Compared:
    """Logits after the last token: those of the exported model, and of the original runtime."""
    for token in golden["tokens"]:
        logits = stream.step(np.array([token], np.int64))
    return {name: (logits.reshape(golden[name].shape), golden[name])
            for name in ("logits", "logits_repo")}  # fmt: skip


def mamba(stream: Stream, golden: Mapping[str, Array]) -> Compared:
    """Logits of the whole utterance, the last step's."""
    for frame in golden["feats"][0]:
        logits = stream.step(frame[None])
    return {"logits": (logits, golden["logits"])}


@dataclasses.dataclass(frozen=True)
class Real:
    """A model file, its golden, and the flags it needs."""

    file: str
    golden: str
    play: Callable[[Stream, Mapping[str, Array]], Compared]
    flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    target: str = host_target()

    def __str__(self) -> str:
        return f"{Path(self.file).stem}-{self.target}"


AT_16K = {"consts": {"sr": 16000}, "shapes": {"input": (1, 576)}}
NO_RANK = {**AT_16K, "shapes": {"input": (1, 576), "state": (2, 1, 128)}}
MODELS = (
    Real("gtcrn/gtcrn.onnx", "golden_gtcrn", gtcrn),
    Real("gtcrn/gtcrn_simple.onnx", "golden_gtcrn_simple", gtcrn),
    Real("gtcrn/gtcrn_simple.onnx", "golden_gtcrn_simple", gtcrn, target="c"),
    Real("DTLN/model_1.onnx", "golden", dtln("mag", "mask")),
    Real("DTLN/model_2.onnx", "golden", dtln("est", "dec")),
    *(
        Real(f"silero-vad/{name}.onnx", "golden", silero(f"prob_{name}"), flags)
        for name, flags in (
            ("silero_vad", NO_RANK),
            ("silero_vad_16k_op15", AT_16K),
            ("silero_vad_op18_ifless", AT_16K),
        )
    ),
    Real("rwkv5/converted_rwkv5_step.onnx", "golden_rwkv5", rwkv),
    Real("mamba-kws/converted_step.onnx", "golden", mamba),
)


@pytest.mark.parametrize("real", MODELS, ids=str)
def test_every_golden_is_reproduced(
    real: Real,
    models_dir: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    torch.set_num_threads(1)
    file = models_dir / real.file
    options = CompileOptions(tmp_path / "dist", (real.target,), cache=False, **real.flags)
    dist = api.compile_model(file, options).folder

    model = edgeseq.load(dist, real.target)  # once: target `c` is compiled here
    verdict = validate.check(dist, real.target, model)
    assert verdict.ok, validate.to_text(verdict)
    assert {"numbers", "last state", "single steps"} <= {f.check for f in verdict.findings}

    golden = np.load(file.parent / f"{real.golden}.npz")
    compared = real.play(model.stream(), golden)
    for name, (got, want) in compared.items():
        assert got.shape == want.shape, name
        error = float(np.abs(got - want).max())
        record_property(f"error {name}", error)
        assert error <= ERROR, name
        if name in SIGNALS:
            quality = snr(got, want)
            record_property(f"SNR {name}", quality)
            assert quality >= SNR, name


def snr(got: Array, want: Array) -> float:
    """Decibels of the signal over what differs from it."""
    wanted, error = want.astype(np.float64), got.astype(np.float64) - want
    return float(10 * np.log10((wanted**2).sum() / (error**2).sum()))
