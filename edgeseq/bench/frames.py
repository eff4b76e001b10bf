"""Inputs to time with: those recorded in the artifact, so they are valid for the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError
from edgeseq.runtime import Model

Array = npt.NDArray[Any]

MOST = 16  # frames gone through in turn: enough to vary, few enough to stay in the cache


@dataclasses.dataclass(frozen=True)
class Frames:
    """Inputs by name of each call.

    Args:
        calls: One dict of arrays per frame (or one whole sequence).
        steps: None: a call is one step. A number: a call is a sequence of this many steps.
    """

    calls: Sequence[Mapping[str, Array]]
    steps: int | None


def recorded(dist: Path, model: Model, *, whole: bool) -> Frames:
    """Read the artifact's verify vectors as single steps, or `whole` as one sequence.

    Raises:
        UsageError: the vectors are missing, or all zero.
    """
    from safetensors.numpy import load_file

    file = dist / "verify" / "vectors.safetensors"
    if not file.is_file():
        raise UsageError(f"'{file}' is missing", fix="compile the model again")
    vectors = load_file(file)
    inputs = {t.name: vectors[f"in.{t.name}"] for t in model.inputs}
    for name, array in inputs.items():
        if array.dtype.kind == "f" and not array.any():
            raise UsageError(
                f"the recorded input '{name}' is zero throughout",
                why="zeros are faster than real inputs",
                fix="compile with --inputs FILE.npz that holds real ones",
            )
    axes = {t.name: t.time_axis if model.whole_sequences else 0 for t in model.inputs}
    lengths = [a.shape[axis] for n, a in inputs.items() if (axis := axes[n]) is not None]
    count = min(lengths, default=1)
    if whole:
        return Frames([inputs], count)
    return Frames(
        [_frame(model, inputs, axes, at) for at in range(min(count, MOST))],
        None,
    )


def _frame(
    model: Model, inputs: Mapping[str, Array], axes: Mapping[str, int | None], at: int
) -> dict[str, Array]:
    frame = {}
    for name, array in inputs.items():
        axis = axes[name]
        if axis is None:
            frame[name] = array
        elif model.whole_sequences:  # one step of a sequence keeps its time axis
            frame[name] = np.take(array, [at], axis)
        else:
            frame[name] = array[at]
    return frame
