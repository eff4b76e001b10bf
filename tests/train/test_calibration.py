"""Samples are read in every form, checked, and refused with a reason."""

import wave

import numpy as np
import pytest

from edgeseq.errors import UsageError
from edgeseq.train import calibration


@pytest.fixture
def saved(tmp_path):
    def save(name, **arrays):
        file = tmp_path / name
        if file.suffix == ".npz":
            np.savez(file, **arrays)
        else:
            np.save(file, arrays["x"])
        return file

    return save


def write_wav(file, values, width=2, channels=1):
    with wave.open(str(file), "wb") as audio:
        audio.setnchannels(channels)
        audio.setsampwidth(width)
        audio.setframerate(16000)
        audio.writeframes(values.tobytes())


def test_files_folders_and_globs(saved, tmp_path, sequence_model):
    saved("a.npz", x=np.ones((1, 40, 6)))
    saved("b.npy", x=np.zeros((1, 33, 6), np.float32))
    by_folder = calibration.load([tmp_path], sequence_model)
    assert [s["x"].shape for s in by_folder] == [(1, 40, 6), (1, 33, 6)]
    assert all(s["x"].dtype == np.float32 for s in by_folder)
    assert len(calibration.load([f"{tmp_path}/*.npz", tmp_path / "a.npz"], sequence_model)) == 1


def test_a_model_of_one_step_takes_stacked_frames(saved, step_model):
    (sample,) = calibration.load([saved("a.npz", x=np.ones((50, 1, 6)))], step_model)
    assert calibration.steps_of(sample, step_model) == 50


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.ones((1, 40, 6))}, "'y', which is no input"),
        ({"x": np.ones((1, 40, 6)), "h": np.ones((1, 1, 8))}, "'h', which is a state"),
        ({}, "lacks input 'x'"),
        ({"x": np.ones((1, 40, 7))}, r"has shape \[1, 40, 7\]"),
        ({"x": np.full((1, 40, 6), np.nan)}, r"is nan at \[0, 0, 0\]"),
        ({"x": np.array([["a"]])}, "the model takes float32"),
        ({"x": np.ones((1, 5, 6))}, "5 steps in all"),
        ({"x": np.ones((1, 5000, 6))}, "has 5000 steps"),
    ],
)
def test_what_does_not_fit_is_refused(saved, sequence_model, arrays, message):
    with pytest.raises(UsageError, match=message):
        calibration.load([saved("a.npz", **arrays)], sequence_model)


def test_nothing_there_and_nothing_readable(tmp_path, sequence_model):
    with pytest.raises(UsageError, match="no calibration samples"):
        calibration.load([tmp_path / "*.npz"], sequence_model)
    (tmp_path / "a.npz").write_bytes(b"no archive")
    (tmp_path / "a.txt").write_text("x")
    for name in ("a.npz", "a.txt"):
        with pytest.raises(UsageError, match="calibration file"):
            calibration.load([tmp_path / name], sequence_model)


@pytest.mark.parametrize(("width", "kind"), [(1, np.uint8), (2, "<i2"), (4, "<i4")])
def test_wav_is_read_at_full_scale_one(tmp_path, width, kind):
    info = np.iinfo(kind)
    middle = 128 if width == 1 else 0
    write_wav(tmp_path / "a.wav", np.array([middle, info.max, info.min], kind), width)
    assert calibration.read_wav(tmp_path / "a.wav") == pytest.approx([0, 1, -1], abs=0.01)


def test_wav_channels_are_averaged_and_24_bits_read(tmp_path):
    left_right = np.array([[0x00, 0x00, 0x40], [0x00, 0x00, 0xC0]], np.uint8)
    write_wav(tmp_path / "a.wav", left_right, 3, 1)
    assert calibration.read_wav(tmp_path / "a.wav").tolist() == [0.5, -0.5]
    write_wav(tmp_path / "b.wav", left_right, 3, 2)
    assert calibration.read_wav(tmp_path / "b.wav").tolist() == [0]


def test_wav_becomes_frames(tmp_path, step_model):
    write_wav(tmp_path / "a.wav", np.arange(6 * 40 + 3, dtype="<i2"))
    (sample,) = calibration.load([tmp_path / "a.wav"], step_model)
    assert sample["x"].shape == (40, 1, 6)
    assert sample["x"][1, 0, 0] * 32768 == 6


def test_wav_for_a_model_of_features_is_refused(tmp_path, sequence_model):
    write_wav(tmp_path / "a.wav", np.zeros(999, "<i2"))
    with pytest.raises(UsageError, match="no waveform"):
        calibration.load([tmp_path / "a.wav"], sequence_model)


def test_synthetic_samples_fit_and_repeat(sequence_model, step_model):
    for model in (sequence_model, step_model):
        one, same = (calibration.synthetic(model, count=2, steps=20, seed=3) for _ in "ab")
        assert calibration.steps_of(one[0], model) == 20
        assert (one[1]["x"] == same[1]["x"]).all()
        assert (one[0]["x"] != one[1]["x"]).any()
