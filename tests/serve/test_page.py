"""The page in headless Chromium; `python -m tests.serve.test_page DIST` takes its picture."""

from __future__ import annotations

import sys
import threading
import time
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeseq import engines, serve
from edgeseq.validate.vectors import Vectors, load
from tests.serve import meters
from tests.serve.chrome import Chrome
from tests.serve.conftest import ROOT, Serving

Samples = npt.NDArray[np.float32]

pytestmark = pytest.mark.slow

NOISY = ROOT / "examples/denoise/demo-noisy.wav"
MICROPHONE = (
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    f"--use-file-for-fake-audio-capture={NOISY}",
)
READY = "document.body?.dataset.ready"
ROWS = "[...document.querySelectorAll('#findings tr')].map(r => [...r.cells].map(c => c.innerText))"


def text(chrome: Chrome, name: str) -> str:
    return str(chrome.run(f"document.getElementById('{name}').innerText"))


def click(chrome: Chrome, name: str) -> None:
    chrome.run(f"document.getElementById('{name}').click()")


@pytest.mark.parametrize("which", ["step", "sequence"])
def test_numbers(which: str, serving: Serving, request: pytest.FixtureRequest) -> None:
    dist: Path = request.getfixturevalue(which)
    with serving(dist) as url, Chrome() as chrome:
        chrome.open(url)
        chrome.wait(READY)
        assert text(chrome, "name") == which
        rows = chrome.run(ROWS)
        checks = {(row[0], row[1]) for row in rows}
        assert text(chrome, "verdict") == f"all {len(rows)} passed", rows
        assert all(float(row[2]) <= float(row[3]) for row in rows)
        assert ("y", "whole sequence") in checks
        assert (("y", "saved and restored") in checks) == (which == "step")
        assert any(row[1] == "whole sequence" and float(row[2]) > 0 for row in rows)
        assert chrome.run("document.getElementById('sound').hidden")
        assert chrome.problems == []


def test_wrong_numbers_fail(step: Path, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeseq.serve import about

    def shifted(file: Path) -> Vectors:
        true = load(file)
        outputs = {n: np.where(np.arange(a.size).reshape(a.shape) == 3, a + 1e-3, a)
                   for n, a in true.outputs.items()}  # fmt: skip
        return Vectors(true.inputs, outputs, true.states)

    monkeypatch.setattr(about, "load", shifted)
    with serving(step) as url, Chrome() as chrome:
        chrome.open(url)
        chrome.wait(READY)
        assert text(chrome, "verdict") == "failed"
        failed = [row[:2] for row in chrome.run(ROWS) if row[4] == "FAIL"]
        assert failed == [["y", "whole sequence"]]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("WebAssembly.validate = () => false", "this browser has no WebAssembly SIMD: update it"),
        ("delete globalThis.WebAssembly", "this browser has no WebAssembly, or it is switched off"),
        ("const f = fetch; fetch = (u, o) => f(String(u).replace('.bin', '.x'), o)", "404"),
    ],
)
def test_what_a_browser_lacks_is_said(before: str, said: str, step: Path, serving: Serving) -> None:
    with serving(step) as url, Chrome() as chrome:
        chrome.open(url, before=before)
        chrome.wait(READY)
        assert said in text(chrome, "problem")
        assert chrome.run("document.getElementById('sections').hidden")


@pytest.mark.parametrize("which", ["step", "sequence"])
def test_speed_by_the_keyboard(
    which: str, serving: Serving, request: pytest.FixtureRequest
) -> None:
    dist: Path = request.getfixturevalue(which)
    with serving(dist) as url, Chrome() as chrome:
        chrome.open(url)
        chrome.wait(READY)
        reached = []
        for _ in range(12):
            chrome.press("Tab", 9)
            now = "document.activeElement"
            reached.append(chrome.run(f"{now}.id || {now}.className"))
            if reached[-1] == "measure":
                break
        assert reached[0] == "skip"
        assert {"validate", "measure"} <= set(reached)
        assert chrome.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        chrome.press("Enter", 13, "\r")
        chrome.wait("!document.getElementById('times').hidden")
        (row,) = chrome.run(ROWS.replace("findings", "sides"))
        assert row[0] == "edgeseq"
        p50, p99 = (_microseconds(cell) for cell in row[1:3])
        assert 0 < p50 <= p99
        assert chrome.problems == []


def _microseconds(cell: str) -> float:
    number, unit = cell.split()
    return float(number) * {"µs": 1, "ms": 1000}[unit]


def test_live_sound_flows_and_loses_its_noise(denoiser: Path, serving: Serving) -> None:
    with serving(denoiser) as url, Chrome(*MICROPHONE) as chrome:
        chrome.open(url)
        chrome.wait(READY)
        assert text(chrome, "verdict").startswith("all")
        assert text(chrome, "start") == "Start the microphone"
        click(chrome, "start")
        chrome.wait("document.getElementById('start').ariaPressed === 'true'")
        meters.check(_levels(chrome, 7.0))
        assert _painted(chrome, "live-before") > 1000
        assert _painted(chrome, "live-after") > 1000
        click(chrome, "start")
        chrome.wait("document.getElementById('start').ariaPressed === 'false'")
        assert text(chrome, "live-note") == "Stopped."
        assert chrome.problems == []


def _levels(chrome: Chrome, seconds: float) -> list[tuple[float, float]]:
    """Levels that the page shows while the recording, 5 s long, goes round."""
    seen = []
    start = time.monotonic()
    while (passed := time.monotonic() - start) < seconds or len(seen) < meters.MIN_READINGS:
        assert passed < 120, seen
        shown = [text(chrome, name) for name in ("level-before", "level-after")]
        if all("dB" in level for level in shown):
            before, after = (float(level.split()[0].replace("−", "-")) for level in shown)
            seen.append((before, after))
        time.sleep(0.1)
    return seen


def _painted(chrome: Chrome, canvas: str) -> int:
    """Pixels brighter than the background."""
    return int(
        chrome.run(
            f"""(() => {{
                const c = document.getElementById('{canvas}');
                const {{ data }} = c.getContext('2d').getImageData(0, 0, c.width, c.height);
                let count = 0;
                for (let i = 0; i < data.length; i += 4) count += data[i] > 60;
                return count;
            }})()"""
        )
    )


def test_a_refused_microphone_is_said(denoiser: Path, serving: Serving) -> None:
    refused = """navigator.mediaDevices.getUserMedia = async () => {
        throw new DOMException('', 'NotAllowedError');
    }"""
    with serving(denoiser) as url, Chrome() as chrome:
        chrome.open(url, before=refused)
        chrome.wait(READY)
        click(chrome, "start")
        chrome.wait("document.getElementById('live-note').innerText.startsWith('Cannot')")
        assert "the browser was not allowed to use the microphone" in text(chrome, "live-note")
        assert text(chrome, "start") == "Start the microphone"


# What the page makes for its players, kept for the test: its policy forbids to fetch it.
KEEP = """const made = URL.createObjectURL; globalThis.blobs = [];
    URL.createObjectURL = (blob) => (blobs.push(blob), made.call(URL, blob));"""


def test_a_file_is_what_the_library_makes_of_it(
    denoiser: Path, serving: Serving, tmp_path: Path
) -> None:
    samples = read(NOISY)
    junk = tmp_path / "kein Ton.wav"
    junk.write_bytes(b"RIFF, but no sound")
    with serving(denoiser) as url, Chrome() as chrome:
        chrome.open(url, before=KEEP)
        chrome.wait(READY)
        chrome.choose("#file", [junk])
        chrome.wait("document.getElementById('file-note').innerText.includes('cannot read')")
        chrome.choose("#file", [NOISY])
        chrome.wait("document.getElementById('play-after').duration > 4.9")
        assert "5.0 s of sound" in text(chrome, "file-note")
        assert chrome.run("document.getElementById('download').download") == (
            "demo-noisy-denoise.wav"
        )
        before, after = (_blob(chrome, i, tmp_path) for i in (0, 1))
        assert _painted(chrome, "file-before") > _painted(chrome, "file-after") > 1000
        # dropped, as it was downloaded
        chrome.run("""(() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([blobs[1]], 'again.wav'));
            dispatchEvent(new DragEvent('drop', { dataTransfer, cancelable: true }));
        })()""")
        chrome.wait("document.getElementById('file-note').innerText.startsWith(\"'again.wav': 5\")")
        assert chrome.problems == []
    np.testing.assert_allclose(before, samples, rtol=0, atol=1e-4)
    with engines.opened(denoiser, "wasm", "node") as model:
        frames = samples[: len(samples) // 256 * 256].reshape(-1, 1, 256)
        want = np.asarray(model.run(frames[:40])).reshape(-1)
    np.testing.assert_allclose(after[: len(want)], want, rtol=0, atol=1e-4)


def _blob(chrome: Chrome, index: int, folder: Path) -> Samples:
    content = chrome.run(f"blobs[{index}].arrayBuffer().then(b => [...new Uint8Array(b)])")
    file = folder / f"{index}.wav"
    file.write_bytes(bytes(content))
    return read(file)


def read(file: Path) -> Samples:
    with wave.open(str(file)) as opened:
        assert (opened.getframerate(), opened.getnchannels()) == (16000, 1)
        data = np.frombuffer(opened.readframes(opened.getnframes()), "<i2")
    return np.asarray(data / 32768, np.float32)


def test_onnxruntime_web_runs_beside_it(step: Path, serving: Serving, peer: Path | None) -> None:
    if peer is None:
        pytest.skip("needs onnxruntime-web: ONNXRUNTIME_WEB=FOLDER")
    with serving(step, onnxruntime_web=peer) as url, Chrome() as chrome:
        chrome.open(url)
        chrome.wait(READY)
        click(chrome, "measure")
        chrome.wait("!document.getElementById('times').hidden")
        names = chrome.run("[...document.querySelectorAll('#sides th')].map(h => h.innerText)")
        assert names == ["edgeseq", "onnxruntime-web"]
        assert "as fast; the outputs differ by" in text(chrome, "speed-sum")
        assert chrome.problems == []


def photograph(dist: Path, file: Path) -> None:
    """The page after its checks and with the microphone on; pngquant makes the picture small."""
    server = serve.Server(serve.prepare(dist), 0)
    threading.Thread(target=server.serve, daemon=True).start()
    with Chrome(*MICROPHONE, "--hide-scrollbars", width=1100, height=1250) as chrome:
        chrome.open(server.url)
        chrome.wait(READY)
        click(chrome, "measure")
        chrome.wait("!document.getElementById('times').hidden")
        click(chrome, "start")
        time.sleep(12)
        clip = {"x": 0, "y": 0, "width": 1100, "height": 1060, "scale": 0.8}
        chrome.picture(file, clip=clip)
    server.stop()


if __name__ == "__main__":
    photograph(Path(sys.argv[1]), ROOT / "docs" / "serve.png")
