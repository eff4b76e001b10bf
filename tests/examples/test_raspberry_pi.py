"""examples/raspberry-pi: cross-compiled as its README says, run under QEMU."""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.examples import commands, sound

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("musl")]

QEMU = "qemu-aarch64-static"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(QEMU) is None:
        pytest.skip(f"needs {QEMU}")
    folder = commands.checkout(tmp_path_factory.mktemp("raspberry-pi"), "raspberry-pi")
    for command in commands.of("raspberry-pi"):
        if command.startswith(("edgeseq compile", "python -m ziglang")):
            commands.run(command, folder)
    commands.reference(folder)
    return folder


def test_readme(repository: Path) -> None:
    (command,) = commands.starting("raspberry-pi", QEMU)
    said = commands.run(command, repository)
    assert said.startswith("enhanced.wav: 5.0 s of sound in ")
    noisy = sound.read(sound.NOISY)
    check(sound.read(repository / "enhanced.wav"), noisy, repository)


def test_32_bits(repository: Path) -> None:
    if shutil.which("qemu-arm-static") is None:
        pytest.skip("needs qemu-arm-static")
    noisy = sound.read(sound.NOISY)
    commands.run(f"qemu-arm-static ./denoise_wav32 {sound.NOISY} enhanced32.wav", repository)
    check(sound.read(repository / "enhanced32.wav"), noisy, repository)


def check(got: sound.Samples, noisy: sound.Samples, repository: Path) -> None:
    """As long as the input and in step with it, the samples those of this machine's library."""
    padded = np.concatenate([noisy, np.zeros(2 * sound.FRAME, np.float32)])
    want = sound.denoised(repository / "host", "x86-64", padded)[sound.FRAME :][: len(noisy)]
    assert len(got) == len(noisy)
    np.testing.assert_allclose(got, want, rtol=0, atol=1.01)
    assert np.square(got).mean() < 0.5 * np.square(noisy).mean()


def test_live(repository: Path) -> None:
    noisy = sound.read(sound.NOISY)
    whole = noisy[: 20 * sound.FRAME]
    done = subprocess.run(
        [QEMU, str(repository / "denoise_wav"), "--live"],
        input=noisy[: 20 * sound.FRAME + 7].astype("<i2").tobytes(),
        capture_output=True,
        check=True,
    )
    got = np.frombuffer(done.stdout, "<i2")
    np.testing.assert_allclose(
        got, sound.denoised(repository / "host", "x86-64", whole), rtol=0, atol=1.01
    )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("missing", "cannot open"),
        ("text", "is not a wav file"),
        ("stereo", "want 1 channel, 16000 Hz, 16 bits; it has 2, 16000, 16"),
        ("cut", "is cut off"),
        ("no samples", "holds no samples"),
    ],
)
def test_bad_files(repository: Path, fault: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "in.wav"
    content = sound.NOISY.read_bytes()
    if fault == "text":
        file.write_bytes(b"hello")
    elif fault == "stereo":
        with wave.open(str(file), "wb") as opened:
            opened.setparams((2, 2, 16000, 0, "NONE", ""))
            opened.writeframes(bytes(64))
    elif fault == "cut":
        file.write_bytes(content[:5000])
    elif fault == "no samples":
        file.write_bytes(content[:36])
    done = subprocess.run(
        [QEMU, str(repository / "denoise_wav"), str(file), str(tmp_path / "out.wav")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert said in done.stderr
