"""Recording the verify vectors at compile time."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.ir import facts
from edgeseq.validate import inputs as samples
from edgeseq.validate.oracle import Interpreted, OnnxRuntime, Oracle, roll
from edgeseq.validate.vectors import Vectors

Array = npt.NDArray[Any]
FILE = "verify/vectors.safetensors"
STEPS = 40


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How a model is run: which inputs are fed, which are carried, and for how long."""

    fed: list[ir.Value]
    states: dict[str, Array]
    pairs: dict[str, str]
    stacked: bool
    steps: int


def record(
    model: ir.Model,
    folder: Path,
    *,
    oracle: Oracle | None = None,
    steps: int = STEPS,
    seed: int = 0,
    sample_file: Path | None = None,
) -> dict[str, Any]:
    """Run the oracle and the reference, and write the vectors.

    Args:
        model: The imported model with its shapes and constants bound, before any other pass.
        folder: The artifact's folder.
        oracle: Runs the model in float64; without it the interpreter does.
        steps: Time steps to record, within what the model allows.
        seed: Of the inputs that are not given.
        sample_file: An .npz file with inputs by name.

    Returns:
        The `verify` section of the manifest.

    Raises:
        UsageError: the samples do not fit, or no input was found that gives finite outputs.
    """
    exact = oracle or Interpreted(model)
    plan = _plan(model, steps, sample_file)
    fed, outputs, states = _run_finite(exact, plan, seed, sample_file)
    vectors = Vectors(fed, _widened(outputs), _widened(states))
    reference, (rough, rough_states) = _reference(model, plan, fed)
    vectors.save(folder / FILE)
    return {
        "file": FILE,
        "sha256": hashlib.sha256((folder / FILE).read_bytes()).hexdigest(),
        "steps": plan.steps,
        "oracle": exact.name,
        "reference": reference,
        "outputs": _limits(vectors.outputs, rough),
        "states": _limits(vectors.states, rough_states),
    }


def rerun(
    oracle: Oracle, vectors: Vectors, states: Mapping[str, tuple[str, Array]], *, stacked: bool
) -> Vectors:
    """Compute the outputs of recorded vectors anew.

    Args:
        oracle: Runs the model; inputs that were bound at compile time must be bound in it.
        vectors: The recorded run; its inputs are used.
        states: By the name of the input: the output it takes, and its first value.
        stacked: Whether the model is one step.
    """
    first = {name: value for name, (_, value) in states.items()}
    pairs = {name: output for name, (output, _) in states.items()}
    outputs, last = roll(oracle, vectors.inputs, first, pairs, stacked=stacked)
    return Vectors(vectors.inputs, _widened(outputs), _widened(last))


def _plan(model: ir.Model, steps: int, sample_file: Path | None) -> _Plan:
    pairs: dict[str, str] = {}
    states: dict[str, Array] = {}
    fed: list[ir.Value] = []
    for value in model.graph.inputs:
        state = facts.get(value, facts.State)
        if state is None:
            fed.append(value)
            continue
        pairs[str(value.name)] = state.output
        states[str(value.name)] = samples.initial_state(value)
    span = facts.get(model, facts.DimRange)
    stacked = span is None
    if span is not None:
        steps = min(max(steps, span.low), span.high)
    if sample_file is not None:
        given = samples.read(sample_file, fed, stacked=stacked)
        steps = samples.length_of(given, fed, stacked=stacked) or steps
    return _Plan(fed, states, pairs, stacked, steps)


def _run_finite(
    oracle: Oracle, plan: _Plan, seed: int, sample_file: Path | None
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Run on inputs that give finite outputs: as they come, else positive ones."""
    bad: list[str] = []
    for positive in (False, True):
        fed = samples.make(plan.fed, plan.steps, stacked=plan.stacked, seed=seed, positive=positive)
        if sample_file is not None:
            fed |= samples.read(sample_file, plan.fed, stacked=plan.stacked)
        outputs, states = roll(oracle, fed, plan.states, plan.pairs, stacked=plan.stacked)
        bad = [n for n, a in {**outputs, **states}.items() if not _finite(a)]
        if not bad:
            return fed, outputs, states
    raise UsageError(
        f"the recorded run gives infinite or undefined values in {', '.join(bad)}",
        why="random inputs, positive ones too, lie outside what the model is made for"
        if sample_file is None
        else "the sample inputs lead there",
        fix="give inputs the model is made for: --inputs samples.npz",
    )


def _finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _reference(
    model: ir.Model, plan: _Plan, fed: dict[str, Array]
) -> tuple[str, tuple[dict[str, Array], dict[str, Array]]]:
    """Run in float32: ONNX Runtime, or where it cannot run the model, the interpreter."""
    try:
        runner: Oracle = OnnxRuntime(model)
        run = roll(runner, fed, plan.states, plan.pairs, stacked=plan.stacked)
    except EdgeseqError:
        raise
    except Exception:  # its errors share no base class; which of them it was does not matter
        runner = Interpreted(model, torch.float32)
        run = roll(runner, fed, plan.states, plan.pairs, stacked=plan.stacked)
    return runner.name, run


def _widened(arrays: dict[str, Array]) -> dict[str, Array]:
    return {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in arrays.items()}


def _limits(exact: Mapping[str, Array], rough: Mapping[str, Array]) -> dict[str, dict[str, float]]:
    return {
        name: {"e_ref": _distance(array, rough[name]), "range": _range(array)}
        for name, array in exact.items()
    }


def _distance(exact: Array, rough: Array) -> float:
    if not exact.size:
        return 0.0
    return float(np.abs(exact.astype(np.float64) - rough.astype(np.float64)).max())


def _range(array: Array) -> float:
    """From the least to the greatest value, zero included: rounding is relative to size."""
    if not array.size:
        return 0.0
    values = array.astype(np.float64)
    return float(max(values.max(), 0.0) - min(values.min(), 0.0))
