"""Calibration samples: the user's recordings as a model's inputs, or synthetic ones.

A sample is a sequence: a model with a time axis gets it whole; one that takes a frame gets it step
by step, so its arrays have the steps on a new leading axis. States are no part of a sample: they
start where the model says and are carried (`rollout.Rollout`).
"""

from __future__ import annotations

import glob
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.validate import inputs

Array = npt.NDArray[Any]
Sample = dict[str, Array]

LEAST_STEPS = 32
HELD_OUT = 1 / 3  # of a single recording
_KINDS = (".npz", ".npy", ".wav")
_HOW = "give .npz by input name, .npy or .wav for the one input, a folder or a quoted glob of them"


def load(paths: Sequence[str | Path], model: ir.Model) -> list[Sample]:
    """Read samples and check them against the model.

    Args:
        paths: Files, folders (searched deeply) and globs.
        model: The model, its sizes bound and its states marked.

    Raises:
        UsageError: nothing there, not readable, or not what the model takes; names the file.
    """
    files = _all_files(paths)
    samples = [_read(file, model) for file in files]
    steps = sum(steps_of(sample, model) for sample in samples)
    if samples and steps < LEAST_STEPS:
        raise UsageError(
            f"the calibration samples have {steps} steps in all",
            at=[str(file) for file in files[:5]],
            why=f"statistics over fewer than {LEAST_STEPS} steps say nothing",
            fix="give longer or more recordings",
        )
    return samples


def first(paths: Sequence[str | Path], model: ir.Model) -> Sample:
    """Read the first sample of those that `load` reads."""
    return _read(_all_files(paths)[0], model)


def synthetic(model: ir.Model, *, count: int = 4, steps: int = 100, seed: int = 0) -> list[Sample]:
    """Make smooth random samples, for want of data; they know nothing of the user's task."""
    span = facts.get(model, facts.DimRange)
    if span is not None:
        steps = min(max(steps, span.low), span.high)
    return [
        inputs.make(
            data_inputs(model), steps, stacked=is_stepwise(model), seed=seed + i, positive=False
        )
        for i in range(count)
    ]


def split(samples: Sequence[Sample], model: ir.Model) -> tuple[list[Sample], Sample]:
    """What is learned from, and what is measured on: the last sample, or the end of one."""
    if len(samples) > 1 or not is_stepwise(model):
        return list(samples[:-1]) or list(samples), samples[-1]
    (one,) = samples
    cut = round(steps_of(one, model) * (1 - HELD_OUT))
    return [{n: a[:cut] for n, a in one.items()}], {n: a[cut:] for n, a in one.items()}


def data_inputs(model: ir.Model) -> list[ir.Value]:
    """Return the inputs that are fed, not carried."""
    return [v for v in model.graph.inputs if facts.get(v, facts.State) is None]


def is_stepwise(model: ir.Model) -> bool:
    """Whether a sample has its steps on a new leading axis: the model has no time axis."""
    return facts.get(model, facts.DimRange) is None


def steps_of(sample: Sample, model: ir.Model) -> int:
    """Return the number of time steps of a sample; 1 where no input has a time axis.

    Raises:
        UsageError: the inputs differ in it.
    """
    stepwise = is_stepwise(model)
    return inputs.length_of(sample, data_inputs(model), stacked=stepwise) or 1


def _all_files(paths: Sequence[str | Path]) -> list[Path]:
    return list(dict.fromkeys(file for path in paths for file in _files(str(path))))


def _files(path: str) -> Iterator[Path]:
    found = Path(path)
    if found.is_dir():
        files = sorted(f for f in found.rglob("*") if f.suffix.lower() in _KINDS)
    elif found.exists():
        files = [found]
    else:
        files = [Path(f) for f in sorted(glob.glob(path, recursive=True))]  # noqa: PTH207
    if not files:
        raise UsageError(f"no calibration samples at '{path}'", fix=_HOW)
    yield from files


def _read(file: Path, model: ir.Model) -> Sample:
    reader = {".npz": _read_npz, ".npy": _read_npy, ".wav": _read_wav}.get(file.suffix.lower())
    if reader is None:
        raise UsageError(f"calibration file '{file}' is of an unknown kind", fix=_HOW)
    try:
        sample = reader(file, model)
    except (OSError, ValueError, EOFError, wave.Error) as error:
        raise UsageError(f"cannot read calibration file '{file}'", why=str(error)) from None
    known = {str(value.name): value for value in data_inputs(model)}
    _check_names(file, sample, known, model)
    sample = {name: _typed(file, name, sample[name], known[name]) for name in known}
    for name, array in sample.items():
        _check_shape(file, name, array, known[name], is_stepwise(model))
    _check_length(file, steps_of(sample, model), model)
    return sample


def _read_npz(file: Path, _: ir.Model) -> Sample:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_npy(file: Path, model: ir.Model) -> Sample:
    return {str(_only_input(file, model).name): np.load(file, allow_pickle=False)}


def _read_wav(file: Path, model: ir.Model) -> Sample:
    """Cut audio into frames (the model takes one) or feed it whole (it has a time axis)."""
    value = _only_input(file, model)
    audio = read_wav(file)
    shape = value.shape or ()
    fixed = [d for d in shape if isinstance(d, int) and d != 1]
    if len(fixed) == 1 and fixed[0] % 2 == 0 and is_stepwise(model):
        frames = len(audio) // fixed[0]
        kept = audio[: frames * fixed[0]]
        return {str(value.name): kept.reshape(frames, *(int(d) for d in shape))}
    if not fixed and not is_stepwise(model):
        return {str(value.name): audio.reshape([1 if isinstance(d, int) else -1 for d in shape])}
    raise UsageError(
        f"'{file}' is audio, and input '{value.name}' is no waveform",
        why=f"its shape is {value.shape}, and edgeseq does not compute features",
        fix="save the model's own inputs: numpy.savez(file, name=array)",
    )


def read_wav(file: Path) -> Array:
    """Return the samples of a PCM file, full scale 1, channels averaged."""
    with wave.open(str(file)) as audio:
        width, channels = audio.getsampwidth(), audio.getnchannels()
        raw = np.frombuffer(audio.readframes(audio.getnframes()), np.uint8)
    if width == 1:  # the one width that is unsigned
        values: Array = raw.astype(np.float32) / 128 - 1
    else:
        padded = np.zeros((len(raw) // width, 4), np.uint8)
        padded[:, 4 - width :] = raw.reshape(-1, width)
        values = padded.reshape(-1).view("<i4").astype(np.float32) / 2.0**31
    mono: Array = values.reshape(-1, channels).mean(axis=1)
    return mono.astype(np.float32)


def _only_input(file: Path, model: ir.Model) -> ir.Value:
    data = data_inputs(model)
    if len(data) != 1:
        names = ", ".join(str(v.name) for v in data)
        raise UsageError(
            f"'{file}' holds one array, the model has {len(data)} inputs: {names}",
            fix="save them by name in an .npz, or fix the others with --const NAME=VALUE",
        )
    return data[0]


def _check_names(file: Path, sample: Sample, known: dict[str, ir.Value], model: ir.Model) -> None:
    states = {str(v.name) for v in model.graph.inputs} - known.keys()
    for name in sample:
        if name in states:
            raise UsageError(
                f"calibration file '{file}' holds '{name}', which is a state",
                why="states start where the model says and are carried from step to step",
                fix=f"leave '{name}' out and give whole recordings, in order",
            )
        if name not in known:
            raise UsageError(
                f"calibration file '{file}' holds '{name}', which is no input",
                fix=f"inputs: {', '.join(known)}",
            )
    missing = [name for name in known if name not in sample]
    if missing:
        raise UsageError(f"calibration file '{file}' lacks input '{missing[0]}'")


def _typed(file: Path, name: str, array: Array, value: ir.Value) -> Array:
    want = inputs.numpy_type(value)
    if array.dtype.kind not in "fiub" or (array.dtype.kind == "f" and want.kind != "f"):
        raise UsageError(
            f"'{name}' in calibration file '{file}' is {array.dtype}, the model takes {want}"
        )
    typed = array.astype(want)
    if want.kind == "f" and not np.isfinite(typed).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(typed))[0])
        raise UsageError(
            f"'{name}' in calibration file '{file}' is {array[bad]} at {list(bad)}",
            why="statistics over infinite or undefined numbers say nothing",
        )
    return typed


def _check_shape(file: Path, name: str, array: Array, value: ir.Value, stepwise: bool) -> None:
    want = [d if isinstance(d, int) else None for d in value.shape or ()]
    want = [None, *want] if stepwise else want
    fits = len(want) == array.ndim and all(
        w in (None, n) for w, n in zip(want, array.shape, strict=True)
    )
    if not fits or not array.size:
        text = ", ".join("T" if w is None else str(w) for w in want)
        raise UsageError(
            f"'{name}' in calibration file '{file}' has shape {list(array.shape)}",
            why=f"the model takes [{text}]" + (", T steps first" if stepwise else ""),
        )


def _check_length(file: Path, steps: int, model: ir.Model) -> None:
    span = facts.get(model, facts.DimRange)
    if span is not None and not span.low <= steps <= span.high:
        raise UsageError(
            f"calibration file '{file}' has {steps} steps",
            why=f"the model takes {span.low} to {span.high}",
            fix=f"cut the recording, or widen the range: --dim {span.symbol}={span.low}:{steps}",
        )
