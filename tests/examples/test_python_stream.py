"""examples/python-stream: its README as written, and blocks of any length."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.examples import commands, sound

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = commands.checkout(tmp_path_factory.mktemp("python-stream"), "python-stream")
    for command in commands.starting("python-stream", "edgeseq compile"):
        commands.run(command, folder)
    return folder


def test_readme(repository: Path) -> None:
    (command,) = commands.starting("python-stream", "python ")
    said = commands.run(command, repository).splitlines()
    assert len(said) == 9
    shown = [line for line in commands.of("python-stream") if " dB " in line]
    assert [line.split() for line in shown] == [line.split() for line in said[: len(shown)]]
    levels = [tuple(map(float, re.findall(r"-\d+\.\d", line))) for line in said]
    assert all(after < before for before, after in levels)


@pytest.mark.parametrize("block", [1, 256, 480, 100000])
def test_blocks_of_any_length_give_the_same(repository: Path, block: int) -> None:
    script = "examples/python-stream/stream_wav.py"
    noisy, out = "examples/denoise/demo-noisy.wav", f"{block}.wav"
    commands.run(f"python {script} {noisy} {out} --block {block}", repository)
    got = sound.read(repository / out)
    want = sound.denoised(repository / "dist", "x86-64", sound.read(sound.NOISY))
    np.testing.assert_allclose(got, want, rtol=0, atol=0.51)


def test_a_file_of_another_kind_is_refused(repository: Path, tmp_path: Path) -> None:
    import wave

    stereo = tmp_path / "stereo.wav"
    with wave.open(str(stereo), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(64))
    script = "examples/python-stream/stream_wav.py"
    with pytest.raises(AssertionError, match="want 1 channel of 2 bytes a sample; found"):
        commands.run(f"python {script} {stereo} out.wav", repository)
