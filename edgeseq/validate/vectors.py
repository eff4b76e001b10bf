"""`verify/vectors.safetensors`: inputs, float64 outputs and last states of a recorded run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from edgeseq.errors import UsageError

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class Vectors:
    """One recorded run.

    Args:
        inputs: By name. Loop models: steps stacked on a new leading axis; else a whole sequence.
        outputs: By name, laid out like the inputs; floats in float64.
        states: By the name of the state's input: the value after the last step.
    """

    inputs: Arrays
    outputs: Arrays
    states: Arrays

    def save(self, file: Path) -> None:
        """Write the file; the same vectors give the same bytes."""
        named = {f"in.{name}": array for name, array in self.inputs.items()}
        named |= {f"out.{name}": array for name, array in self.outputs.items()}
        named |= {f"state.{name}": array for name, array in self.states.items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        # safetensors writes the memory as it lies: a transposed view must be laid out first.
        whole = {name: np.ascontiguousarray(array) for name, array in named.items()}
        file.write_bytes(safetensors.numpy.save(_with_rank(whole, named)))


def load(file: Path) -> Vectors:
    """Read the file.

    Raises:
        UsageError: it is missing or damaged.
    """
    try:
        named = safetensors.numpy.load(file.read_bytes())
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"cannot read the verify vectors '{file}'", why=str(error), fix="compile again"
        ) from None
    parts: dict[str, dict[str, Array]] = {"in": {}, "out": {}, "state": {}}
    for key, array in named.items():
        kind, _, name = key.partition(".")
        parts.setdefault(kind, {})[name] = array
    return Vectors(parts["in"], parts["out"], parts["state"])


def widened(arrays: Arrays) -> dict[str, Array]:
    """Bring floats to float64; integers and booleans keep their type."""
    return {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in arrays.items()}


def _with_rank(whole: Arrays, named: Arrays) -> dict[str, Array]:
    """Undo `ascontiguousarray` making a vector of one out of a scalar."""
    return {name: array.reshape(named[name].shape) for name, array in whole.items()}
