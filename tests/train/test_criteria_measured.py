"""What criteria are worth on trained models: output error at equal density, without retraining.

`python tests/train/test_criteria_measured.py MODELS` prints the table.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeseq import pipeline
from edgeseq.frontends.load import load
from edgeseq.frontends.states import mark_states
from edgeseq.train import calibration
from edgeseq.train.evidence import Evidence, relative_errors
from edgeseq.train.pruning import Pruner, Request

ROOT = Path(__file__).resolve().parents[2]
CRITERIA = ("random", "magnitude", "wanda", "second-order")
SPARSITY = 0.5
STEPS = 100
SEEDS = 5


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model, and its input made of a waveform, steps first."""

    spec: str
    name: str
    frames: object
    fixed: tuple[str, ...] = ()  # constants that were not trained: filter banks


def waveform(models):
    return calibration.read_wav(models / "gtcrn" / "mix.wav")


def windows(size, hop):
    return lambda x: np.lib.stride_tricks.sliding_window_view(x, size)[::hop].astype(np.float32)


def magnitudes(x):
    return np.abs(np.fft.rfft(windows(512, 128)(x))).astype(np.float32)


def trained(models):
    return {
        "DTLN 1": Trained(f"{models}/DTLN/model_1.onnx", "input_2", magnitudes),
        "DTLN 2": Trained(f"{models}/DTLN/model_2.onnx", "input_4", windows(512, 128)),
        "denoise": Trained(
            f"{ROOT}/examples/denoise/model.py:streaming",
            None,
            windows(256, 256),
            ("pool", "spread"),
        ),
    }


def measure(one, x, seeds=SEEDS, steps=STEPS):
    """Return criterion -> errors on steps that were not calibrated on, one per seed."""
    model = load(one.spec).model
    mark_states(model)
    pipeline.prepare(model)
    (value,) = calibration.data_inputs(model)
    frames = one.frames(x)
    frames = frames.reshape(len(frames), *(int(n) for n in value.shape))
    starts = np.linspace(0, len(frames) - 2 * steps, seeds).astype(int)
    found = {name: [] for name in CRITERIA}
    for seed, start in enumerate(starts):
        seen, unseen = frames[start : start + steps], frames[start + steps : start + 2 * steps]
        dense = Evidence(model, [], [{value.name: unseen}]).outputs()
        for name in CRITERIA:
            copy = model.clone()
            request = Request(SPARSITY, "16x1", name, "uniform", one.fixed, seed=seed)
            pruner = Pruner(copy, request, [{value.name: seen}])
            scores = pruner.scores()
            pruner.apply(scores, pruner.allocate(scores))
            pruned = Evidence(copy, [], [{value.name: unseen}]).outputs()
            found[name].append(max(relative_errors(dense, pruned).values()))
    return found


@pytest.mark.slow
def test_data_beats_magnitude_on_the_example():
    """As measured below, on one place of the recording that the example comes with."""
    recording = calibration.read_wav(ROOT / "examples" / "denoise" / "demo-noisy.wav")
    denoise = trained(ROOT)["denoise"]
    errors = {n: e[0] for n, e in measure(denoise, recording, seeds=1, steps=40).items()}
    assert errors["second-order"] < 0.5 * min(errors["wanda"], errors["magnitude"])
    assert errors["second-order"] < 0.5 * errors["random"]


@pytest.mark.measure
def test_second_order_beats_magnitude_beats_random_on_two_of_three(models_dir):
    ordered = 0
    for one in trained(models_dir).values():
        errors = {n: np.mean(e) for n, e in measure(one, waveform(models_dir), seeds=2).items()}
        assert errors["second-order"] < errors["random"]
        ordered += errors["second-order"] < errors["magnitude"] < errors["random"]
    assert ordered >= 2


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for model_name, each in trained(folder).items():
        for criterion, errors in measure(each, waveform(folder)).items():
            mean, spread = np.mean(errors), np.std(errors)
            print(f"{model_name:<10} {criterion:<14} {mean:.4f} +/- {spread:.4f}", flush=True)
