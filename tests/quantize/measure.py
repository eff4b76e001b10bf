"""Errors of quantized models of other people, over audio that calibration has not heard.

    python -m tests.quantize.measure MODELS [--only dtln] [--scheme w4g32] [--set rounding=gptq ...]

MODELS is the folder with `DTLN`, `gtcrn` and `silero-vad`. One line per model: what changed, and
how far its output is from the float model's.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.frontends.load import load
from edgeseq.frontends.states import mark_states
from edgeseq.ir.settings import Settings as Sizes
from edgeseq.pipeline import PASSES, prepare
from edgeseq.quantize import Settings, quantize
from edgeseq.quantize.calibrate import Runner
from tests.quantize import audio

Array = npt.NDArray[Any]
Sample = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Net:
    """A prepared model and what it is calibrated with."""

    model: ir.Model
    samples: Sequence[Sample]
    output: str

    def run(self, sample: Sample, model: ir.Model | None = None) -> Array:
        return np.stack(Runner(model or self.model)(sample)[self.output])

    def quantized(self, scheme: str, settings: Settings) -> Net:
        model = self.model.clone()
        quantize(model, scheme, self.samples, settings)
        return dataclasses.replace(self, model=model)


@dataclasses.dataclass(frozen=True)
class Case:
    """Models that work together.

    Args:
        nets: The models.
        run: What they make of what is held out.
        score: How far that is from what the float models make of it.
    """

    nets: Sequence[Net]
    run: Callable[[Sequence[Net]], Array]
    score: Callable[[Array, Array], str]


def prepared(
    file: Path, shapes: Mapping[str, tuple[int, ...]], consts: Mapping[str, int]
) -> ir.Model:
    model = load(str(file)).model
    mark_states(model)
    sizes = Sizes(shapes, {}, consts)
    prepare(model, sizes, passes=PASSES[:1])
    mark_states(model)
    prepare(model, sizes, passes=PASSES[1:])
    return model


def si_sdr(got: Array, want: Array) -> float:
    a, b = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    target = (a @ b) / (b @ b) * b
    return float(10 * np.log10((target @ target) / ((a - target) @ (a - target))))


def decibels(got: Array, want: Array) -> str:
    return f"SI-SDR {si_sdr(got, want):.1f} dB"


def silero(folder: Path) -> Case:
    """The first 20 seconds against the next 20."""
    speech = folder / "silero-vad/test.wav"
    model = prepared(
        folder / "silero-vad/silero_vad_op18_ifless.onnx", {"input": (1, 576)}, {"sr": 16000}
    )
    net = Net(model, [audio.silero(audio.read(speech, 0, 20))], "output")
    held_out = audio.silero(audio.read(speech, 20, 40))

    def score(got: Array, want: Array) -> str:
        same = ((got > 0.5) == (want > 0.5)).mean()
        return f"mean |error| {np.abs(got - want).mean():.4f}, {same:.1%} of decisions"

    return Case([net], lambda nets: nets[0].run(held_out), score)


def gtcrn(folder: Path) -> Case:
    """A noisy mixture against clean speech of others."""
    model = prepared(folder / "gtcrn/gtcrn_simple.onnx", {}, {})
    net = Net(model, [audio.gtcrn(audio.read(folder / "gtcrn/mix.wav"))], "enh")
    held_out = audio.gtcrn(audio.read(folder / "silero-vad/test.wav", 20, 30))
    return Case([net], lambda nets: nets[0].run(held_out), decibels)


def dtln(folder: Path) -> Case:
    """The whole chain on a noisy mixture; calibrated on speech of others, with made-up noise."""
    first = prepared(folder / "DTLN/model_1.onnx", {}, {})
    second = prepared(folder / "DTLN/model_2.onnx", {}, {})
    nets = [Net(first, (), "activation_2"), Net(second, (), str(second.graph.outputs[0].name))]
    speech = audio.read(folder / "silero-vad/test.wav", 0, 30)
    clips = [audio.noisy(part, snr, i) for i, (part, snr) in enumerate(_parts(speech))]
    inputs = [(audio.dtln1(clip), clip) for clip in clips]
    nets[0] = dataclasses.replace(nets[0], samples=[one for one, _ in inputs])
    masked = [audio.dtln2(clip, nets[0].run(one)) for one, clip in inputs]
    nets[1] = dataclasses.replace(nets[1], samples=masked)
    mixture = audio.read(folder / "gtcrn/mix.wav")

    def run(nets: Sequence[Net]) -> Array:
        mask = nets[0].run(audio.dtln1(mixture))
        return audio.joined(nets[1].run(audio.dtln2(mixture, mask)), 128)

    return Case(nets, run, decibels)


def _parts(speech: Array) -> Iterator[tuple[Array, float]]:
    """Thirds of a recording, and by how many dB each is louder than its noise."""
    return zip(np.array_split(speech, 3), (0.0, 5.0, 15.0), strict=True)


CASES: Mapping[str, Callable[[Path], Case]] = {"dtln": dtln, "gtcrn": gtcrn, "silero": silero}


def _value(text: str) -> bool | float | str:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", type=Path)
    parser.add_argument("--only", choices=list(CASES), action="append")
    parser.add_argument("--scheme", default="int8")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", action="append")
    given = parser.parse_args(arguments)
    for name in given.only or CASES:
        case = CASES[name](given.models)
        want = case.run(case.nets)
        for words in given.set or [[]]:
            pairs = dict(word.split("=", 1) for word in words)
            settings = Settings(**{k: _value(v) for k, v in pairs.items()})  # type: ignore[arg-type]
            start = time.perf_counter()
            nets = [net.quantized(given.scheme, settings) for net in case.nets]
            seconds = time.perf_counter() - start
            text = case.score(case.run(nets), want)
            how = " ".join([given.scheme, *words])
            sys.stdout.write(f"{name:7} {how:40} {text}  ({seconds:.0f} s)\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
