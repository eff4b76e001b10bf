"""The audio worklet in headless Chromium, against the model fed by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from edgeseq import api
from edgeseq.engines._script import checked, unpacked
from edgeseq.engines.chromium import Browser
from edgeseq.options import CompileOptions

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parent / "worklet.html"
FRAME = 160

# Each frame is the one before: what comes out can be foretold, also when it was resampled.
LATE = f"""<ir_version: 10, opset_import: ["" : 20]>
late (float[1, {FRAME}] x, float[1, {FRAME}] h) => (float[1, {FRAME}] y, float[1, {FRAME}] h_out)
{{
    y = Mul(h, two)
    h_out = Identity(x)
}}
"""


def late(folder: Path, factor: float) -> Path:
    text = LATE.replace("{\n", f"<float[1] two = {{{factor}}}>\n{{\n", 1)
    options = CompileOptions(folder, ("wasm",), name="late")
    return api.compile_model(onnx.parser.parse_model(text), options).folder / "wasm"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of the model, and in `next` another one of the same name."""
    folder = tmp_path_factory.mktemp("late")
    package = late(folder / "dist", 2.0)
    late(folder / "next", 3.0).rename(package / "next")
    return package


def render(package: Path, rate: int, model: int, more: str = "") -> list[npt.NDArray[np.float32]]:
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium")
    browser = Browser(package, PAGE, f"rate={rate}&model={model}{more}")
    try:
        answer = checked(*unpacked(browser.receive(120.0)))
    finally:
        browser.close()
    return [np.frombuffer(part, np.float32) for part in answer]


def test_at_the_model_s_rate_it_is_the_model_a_frame_later(package: Path) -> None:
    _, got, direct = render(package, 16000, 16000)
    assert np.abs(direct).max() > 0.5
    assert (got[:FRAME] == 0).all()
    whole = (len(got) - FRAME) // FRAME * FRAME
    np.testing.assert_array_equal(got[FRAME : FRAME + whole - FRAME], direct[: whole - FRAME])


@pytest.mark.parametrize("rate", [48000, 44100])
def test_at_another_rate_it_is_resampled(package: Path, rate: int) -> None:
    wave, got, _ = render(package, rate, 16000)
    settled = slice(rate // 4, rate * 3 // 4)
    spectrum = np.fft.rfft(got[settled] * np.hanning(len(got[settled])))
    peak = int(np.abs(spectrum).argmax()) * rate / len(got[settled])
    assert peak == pytest.approx(440, abs=3)
    # a sine stays a sine of twice the amplitude: nothing is dropped, repeated or aliased
    t = np.arange(rate)[settled] / rate
    basis = np.stack([np.sin(2 * np.pi * 440 * t), np.cos(2 * np.pi * 440 * t)], 1)
    fitted, *_ = np.linalg.lstsq(basis, got[settled], rcond=None)
    assert np.hypot(*fitted) == pytest.approx(2 * np.abs(wave).max(), rel=2e-3)
    residual = got[settled] - basis @ fitted
    assert np.sqrt((residual**2).mean()) < 1e-3


def test_two_versions_in_one_context(package: Path) -> None:
    wave, got, _ = render(package, 16000, 16000, "&next")
    late = 4 * FRAME  # a frame for each model and for each node
    np.testing.assert_array_equal(got[late:], 3 * (2 * wave[: len(wave) - late]))
