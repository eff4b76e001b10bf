"""The shipped denoiser: its transform, its two ways to run, its states, and what it does to noise.

None of these needs espeak-ng: speech comes from the demo files of the example.
"""

from __future__ import annotations

import importlib.util
import re
import wave
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeseq.frontends.torch import import_torch

FOLDER = Path(__file__).parents[2] / "examples" / "denoise"


@pytest.fixture(scope="module")
def denoise() -> ModuleType:
    """The example's model.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("denoise_model", FOLDER / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str) -> Tensor:
    with wave.open(str(FOLDER / name)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return torch.from_numpy(samples.astype(np.float32) / 32768)


def stream(module: ModuleType, model: torch.nn.Module, samples: Tensor) -> Tensor:
    hops, states = [], module.initial_states()
    with torch.no_grad():
        for x in samples.split(module.HOP, dim=1):
            y, *states = model(x, *states)
            hops.append(y)
    return torch.cat(hops, dim=1)


def si_snr(estimate: Tensor, target: Tensor) -> float:
    part = (estimate @ target) / (target @ target) * target
    return float(10 * torch.log10(part.square().sum() / (estimate - part).square().sum()))


def test_window_and_overlap_add_return_the_input_one_hop_later(denoise: ModuleType) -> None:
    model = denoise.Denoiser()
    sound = 0.3 * torch.sin(torch.arange(denoise.HOP * 12) * 0.3).unsqueeze(0)
    again = model.synthesis(model.analysis(sound))
    torch.testing.assert_close(again[:, denoise.HOP :], sound[:, : -denoise.HOP], rtol=0, atol=1e-5)


def test_step_is_the_sequence(denoise: ModuleType) -> None:
    model, samples = denoise.load(), read("demo-noisy.wav").unsqueeze(0)
    with torch.no_grad():
        whole = model.sequence(samples)
    torch.testing.assert_close(stream(denoise, model, samples), whole, rtol=0, atol=1e-5)


def test_silence_stays_silent_and_finite(denoise: ModuleType) -> None:
    quiet = stream(denoise, denoise.load(), torch.zeros(1, denoise.HOP * 20))
    assert torch.equal(quiet, torch.zeros_like(quiet))


def test_a_long_stream_does_not_drift(denoise: ModuleType) -> None:
    """Hearing the demo for the fortieth time, the model cleans it as well as the second time."""
    noisy, clean = read("demo-noisy.wav"), read("demo-clean.wav")
    with torch.no_grad():
        out = denoise.load().sequence(noisy.repeat(40).unsqueeze(0))[0]
    passes = out[denoise.HOP :][: 39 * len(clean)].reshape(39, -1)
    assert si_snr(passes[-1], clean) == pytest.approx(si_snr(passes[1], clean), abs=0.5)


def test_frontend_sees_two_grus_and_the_names_of_the_states(denoise: ModuleType) -> None:
    model, inputs = denoise.streaming()
    imported = import_torch(model, inputs)
    assert [value.name for value in imported.graph.inputs] == ["x", "tail", "ola", "h1", "h2"]
    outputs = ["y", "tail_out", "ola_out", "h1_out", "h2_out"]
    assert [value.name for value in imported.graph.outputs] == outputs
    assert [node.op_type for node in imported.graph].count("GRU") == 2


def test_weights_are_small_and_suit_the_block_kernels(denoise: ModuleType) -> None:
    assert denoise.WEIGHTS.stat().st_size < 2_000_000
    for name, value in denoise.load().named_parameters():
        assert all(size % 16 == 0 for size in value.shape), name


def test_noise_goes_and_speech_stays(denoise: ModuleType) -> None:
    noisy, clean = read("demo-noisy.wav"), read("demo-clean.wav")
    out = stream(denoise, denoise.load(), noisy.unsqueeze(0))[0, denoise.HOP :]
    noisy, clean = noisy[: -denoise.HOP], clean[: -denoise.HOP]
    assert si_snr(out, clean) > si_snr(noisy, clean) + 5
    blocks = [each.reshape(-1, denoise.HOP).square().mean(1) for each in (clean, noisy, out)]
    pause = blocks[0] < 1e-8
    pause[:8] = False  # a stream needs a tenth of a second to hear what it is in
    assert pause.sum() >= 10
    assert blocks[2][pause].mean() < 0.03 * blocks[1][pause].mean()
    speech = blocks[0] > blocks[0].max() / 100
    assert blocks[2][speech].mean() > 0.5 * blocks[0][speech].mean()


def test_readme_names_only_files_that_are_there() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b[a-z_-]+\.(?:py|wav|safetensors)\b", text))
    elsewhere = {"first.safetensors", "noisy.wav", "enhanced.wav", "mix.wav", "enh_stream.wav"}
    missing = {name for name in named - elsewhere if not (FOLDER / name).exists()}
    assert not missing
